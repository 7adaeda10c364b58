//! Pure. Rows as a table for a terminal, which must not obey what strangers wrote.

use std::io::Write;

use common::visible;

/// The longest text of one cell.
pub(super) const MOST_CHARACTERS: usize = 120;

/// Writes rows with their columns aligned; the last one is as long as it is.
pub(super) fn write(rows: &[Vec<String>], out: &mut dyn Write) -> anyhow::Result<()> {
    let shown = |cell: &String| visible::short(cell.as_bytes(), MOST_CHARACTERS);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_reaches_the_terminal_that_it_would_obey() {
        let mut out = Vec::new();
        let rows = [["NAME", "STATE"], ["a\u{1b}[2J", "up"], ["é", "x\ny"]];
        write(&rows.map(|row| row.map(str::to_owned).to_vec()), &mut out).unwrap();
        let told = String::from_utf8(out).unwrap();
        assert_eq!(told, "NAME      STATE\na⟨1B⟩[2J  up\né         x⟨0A⟩y\n");
    }
}
