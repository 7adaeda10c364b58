//! The page of measurements: each benchmark owns what stands between its two marks.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

const OPENING: &str =
    "# Benchmarks\n\nMeasured in one run on one machine, so that the ratios mean something.\n";

/// Replaces what `name` measured before, or adds it at the end.
pub(crate) fn write(path: &Path, name: &str, measured: &str) -> Result<()> {
    let page = if path.is_file() {
        fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?
    } else {
        OPENING.to_owned()
    };
    let page = replaced(&page, name, measured)?;
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

fn replaced(page: &str, name: &str, measured: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let block = format!("{begin}{}\n{end}", measured.trim_end());
    match (page.split_once(&begin), page.split_once(&end)) {
        (Some((before, _)), Some((_, after))) => Ok(format!("{before}{block}{after}")),
        (None, None) => Ok(format!("{}\n\n{block}", page.trim_end())),
        _ => bail!("one of the two marks of {name} is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_block_is_added_once_and_then_replaced() {
        let first = replaced("# Page\n", "bench a", "one\n").unwrap();
        assert_eq!(first, "# Page\n\n<!-- bench a: begin -->\none\n<!-- bench a: end -->\n");
        let second = replaced(&format!("{first}\nMore.\n"), "bench a", "two").unwrap();
        assert_eq!(second, "# Page\n\n<!-- bench a: begin -->\ntwo\n<!-- bench a: end -->\n\nMore.\n");
        assert!(replaced("<!-- bench a: end -->\n", "bench a", "x").is_err());
    }
}
