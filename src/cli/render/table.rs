//! Columns that line up.

use super::Style;

/// One cell: its text, and how it looks on a terminal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Returns a cell with a look of its own.
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: super::visible::line(&text.into()), style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Style::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Style::Plain)
    }
}

/// Returns the table with its head, columns two blanks apart, no blanks at line ends.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[Cell; N]], colours: bool) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].text.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let heads = head.map(Cell::from);
    let mut out = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
        for (cell, width) in row.iter().zip(&widths).take(last) {
            let padding = width + 2 - cell.text.chars().count();
            out.push_str(&cell.style.paint(&cell.text, colours));
            out.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(&row[last].style.paint(&row[last].text, colours));
        out.push('\n');
    }
    out
}
