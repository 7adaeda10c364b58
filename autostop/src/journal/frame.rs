//! Pure. How groups of records stand in the file, and what can be read back from a damaged one.

use memchr::memmem;

const TITLE: &str = "wayside journal 1";

/// What a file held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents<'a> {
    /// The mark of this file.
    pub(super) mark: u32,
    /// Every whole group, in order.
    pub(super) groups: Vec<Group<'a>>,
    /// The number that the next group gets.
    pub(super) next: u64,
    /// Length of the file up to the end of the last whole group.
    pub(super) good_bytes: u64,
    /// Bytes behind that, of a group that was never acknowledged.
    pub(super) torn_bytes: u64,
    /// Where the first damage begins, if there is any.
    pub(super) damaged_at: Option<u64>,
    /// Bytes of it that cannot be read.
    pub(super) lost_bytes: u64,
    /// Groups that are missing between others.
    pub(super) lost_groups: u64,
}

/// One group, whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group<'a> {
    /// Where it begins.
    pub(super) at: u64,
    number: u64,
    /// Its records, a JSON list.
    pub(super) json: &'a [u8],
}

/// The first line of a file.
pub(super) fn head(mark: u32) -> String {
    let head = format!("{TITLE} {mark:08x}");
    format!("{head} {:08x}\n", crc32fast::hash(head.as_bytes()))
}

/// The line of a group.
pub(super) fn group(mark: u32, number: u64, json: &[u8]) -> Vec<u8> {
    let mut line = group_head(mark, number, json);
    line.extend_from_slice(json);
    line.push(b'\n');
    line
}

fn group_head(mark: u32, number: u64, json: &[u8]) -> Vec<u8> {
    let told = format!("@{mark:08x} {number} {}", json.len());
    let mut sum = crc32fast::Hasher::new();
    sum.update(told.as_bytes());
    sum.update(json);
    format!("{told} {:08x} ", sum.finalize()).into_bytes()
}

/// Reads a whole file; whatever the bytes are, every whole group of this file is found.
pub(super) fn read(file: &[u8]) -> Contents<'_> {
    let mut contents = Contents { next: 1, ..Contents::default() };
    let mut at = match read_head(file) {
        Some(mark) => {
            contents.mark = mark;
            head(mark).len()
        }
        None => {
            // A head is on disk before the file has its name: this is damage, never a torn write.
            contents.damaged_at = Some(0);
            let first = memmem::find_iter(file, b"\n@")
                .find_map(|at| Some((at + 1, read_group(file, at + 1, read_mark(file, at + 2)?)?)));
            let Some((first, _)) = first else {
                contents.lost_bytes = file.len() as u64;
                return contents;
            };
            contents.mark = read_mark(file, first + 1).unwrap_or_default();
            contents.lost_bytes = first as u64;
            first
        }
    };
    contents.good_bytes = at as u64;
    let mark = format!("@{:08x} ", contents.mark);
    let finder = memmem::Finder::new(&mark);
    let mut bad_from = None;
    while at < file.len() {
        let Some((group, end)) = read_group(file, at, contents.mark) else {
            bad_from.get_or_insert(at);
            let rest = file.get(at + 1..).unwrap_or_default();
            at = finder.find(rest).map_or(file.len(), |distance| at + 1 + distance);
            continue;
        };
        if let Some(bad) = bad_from.take() {
            contents.damaged_at.get_or_insert(bad as u64);
            contents.lost_bytes += (at - bad) as u64;
        }
        if group.number != contents.next {
            contents.damaged_at.get_or_insert(group.at);
            contents.lost_groups += group.number.saturating_sub(contents.next);
        }
        contents.next = group.number.saturating_add(1);
        contents.good_bytes = end as u64;
        contents.groups.push(group);
        at = end;
    }
    contents.torn_bytes = file.len() as u64 - contents.good_bytes;
    contents
}

fn read_head(file: &[u8]) -> Option<u32> {
    let mark = read_mark(file, TITLE.len() + 1)?;
    file.starts_with(head(mark).as_bytes()).then_some(mark)
}

fn read_mark(file: &[u8], at: usize) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(file.get(at..at + 8)?).ok()?, 16).ok()
}

fn read_group(file: &[u8], at: usize, mark: u32) -> Option<(Group<'_>, usize)> {
    /// Of the longest head, with two numbers of 20 digits.
    const MOST_HEAD_BYTES: usize = 64;
    let line = file.get(at..)?;
    let start = line.get(..line.len().min(MOST_HEAD_BYTES))?;
    let mut words = start.split(|byte| *byte == b' ').skip(1).map(std::str::from_utf8);
    let number = words.next()?.ok()?.parse().ok()?;
    let json_bytes: usize = words.next()?.ok()?.parse().ok()?;
    let head_bytes = start.iter().enumerate().filter(|(_, byte)| **byte == b' ').nth(3)?.0 + 1;
    let end = head_bytes.checked_add(json_bytes)?;
    let json = line.get(head_bytes..end)?;
    let whole = line.get(end) == Some(&b'\n') && line.get(..head_bytes)? == group_head(mark, number, json);
    whole.then_some((Group { at: at as u64, number, json }, at + end + 1))
}

#[cfg(test)]
mod tests;
