//! Text in columns.

use std::fmt;

use anstyle::Style;

/// A table; columns are as wide as their widest cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// A text in a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    side: Side,
}

/// On which side of its column a text stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Side {
    #[default]
    Left,
    Right,
}

impl Cell {
    /// A number, on the right.
    pub(crate) fn number(number: impl fmt::Display) -> Self {
        Self {
            side: Side::Right,
            ..Self::from(number.to_string())
        }
    }

    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

impl Table {
    /// A table with a line of column names. A column of numbers has its name on the right.
    pub(crate) fn new<C: Into<Cell>>(names: impl IntoIterator<Item = C>) -> Self {
        Self {
            rows: vec![names.into_iter().map(Into::into).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |row: &Vec<Cell>, column| {
            row.get(column)
                .map_or(0, |cell: &Cell| cell.text.chars().count())
        };
        (0..columns)
            .map(|column| self.rows.iter().map(|row| width(row, column)).max())
            .map(Option::unwrap_or_default)
            .collect()
    }
}

impl fmt::Display for Table {
    /// Each row on a line of its own, without blanks at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let mut blanks = 0;
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { 0 } else { 2 };
                let fill = width - cell.text.chars().count();
                let (before, after) = match cell.side {
                    Side::Left => (0, fill),
                    Side::Right => (fill, 0),
                };
                if !cell.text.is_empty() {
                    let (on, off) = (cell.style.render(), cell.style.render_reset());
                    let indent = blanks + gap + before;
                    write!(f, "{:indent$}{on}{}{off}", "", cell.text)?;
                    blanks = after;
                } else {
                    blanks += gap + width;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let mut table = Table::new([Cell::from("SERVICE"), Cell::number("CALLS"), "URL".into()]);
        table.row(vec!["rng".into(), Cell::number(1200), "http://rng".into()]);
        table.row(vec!["long-service".into(), Cell::number(7), "".into()]);
        table.row(vec!["é".into(), "".into(), "x".into()]);
        let expected = "\
SERVICE       CALLS  URL
rng            1200  http://rng
long-service      7
é                    x
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_style_takes_no_room() {
        let green = AnsiColor::Green.on_default();
        let mut table = Table::new(["A", "B"]);
        table.row(vec![Cell::from("x").styled(green), "y".into()]);
        table.row(vec!["xyz".into(), "y".into()]);
        let text = table.to_string();
        assert!(text.contains("\u{1b}[32mx\u{1b}[0m    y\n"), "{text:?}");
    }
}
