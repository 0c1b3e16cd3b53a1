//! Tables that fit the terminal, and colours where somebody sees them.

use std::io::IsTerminal;

use slips_store::render::escape;

/// Width where nothing says how wide the terminal is: in a pipe.
const USUAL_WIDTH: usize = 100;
/// No column is made narrower than this.
const NARROWEST: usize = 8;

/// A table: what is too wide is cut in its widest columns, numbers never.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Left-aligned, cut where it is too long.
    Text,
    /// Left-aligned, whole: what is copied into another command.
    Whole,
    /// Right-aligned, whole.
    Number,
}

impl Column {
    pub(super) const fn text(title: &'static str) -> Self {
        Self { title, kind: Kind::Text }
    }

    pub(super) const fn whole(title: &'static str) -> Self {
        Self { title, kind: Kind::Whole }
    }

    pub(super) const fn number(title: &'static str) -> Self {
        Self { title, kind: Kind::Number }
    }
}

/// How a cell looks on a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    #[default]
    Plain,
    Bold,
    Dim,
    Yellow,
    Red,
    BoldRed,
}

impl Look {
    /// Of a threat level.
    pub(super) fn of_level(level: &str) -> Self {
        match level {
            "critical" => Self::BoldRed,
            "high" => Self::Red,
            "medium" => Self::Yellow,
            "info" => Self::Dim,
            _ => Self::Plain,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::BoldRed => "1;31",
        }
    }

    /// `text` so that a terminal shows it like that, if there is one.
    pub(super) fn paint(self, text: &str, colours: Colours) -> String {
        if self == Self::Plain || colours == Colours::No {
            return text.to_owned();
        }
        format!("\x1b[{}m{text}\x1b[0m", self.code())
    }
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Yes,
    No,
}

impl Colours {
    /// On a terminal, unless the user wants none (<https://no-color.org>).
    pub(super) fn of_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !unwanted { Self::Yes } else { Self::No }
    }
}

/// A cell: its text can be anybody's, and is made harmless.
pub(super) struct Cell {
    text: String,
    look: Look,
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>) -> Self {
        Self { text: escape(text.as_ref()).into_owned(), look: Look::Plain }
    }

    pub(super) fn shown(value: impl std::fmt::Display) -> Self {
        Self::new(value.to_string())
    }

    /// A moment in ISO 8601, to the second: `2026-01-02 10:00:00`.
    pub(super) fn time(iso: &str) -> Self {
        Self::new(moment(iso))
    }

    pub(super) const fn look(mut self, look: Look) -> Self {
        self.look = look;
        self
    }
}

/// `2026-01-02 10:00:00` of a time in ISO 8601.
pub(super) fn moment(iso: &str) -> String {
    iso.get(..19).unwrap_or(iso).replace('T', " ")
}

impl Table {
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as wide as the terminal.
    pub(super) fn show(&self) -> String {
        self.render(width(), Colours::of_output())
    }

    fn render(&self, most: usize, colours: Colours) -> String {
        let widths = self.widths(most);
        let mut text = String::new();
        let titles = self.columns.iter().map(|column| (column.title, Look::Bold));
        line(&mut text, &self.columns, &widths, titles, colours);
        for row in &self.rows {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.look));
            line(&mut text, &self.columns, &widths, cells, colours);
        }
        text
    }

    /// What each column gets: what it needs, or less for the widest, in turn.
    fn widths(&self, most: usize) -> Vec<usize> {
        let needed = |at: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| columns_of(&cell.text));
            cells.chain([columns_of(column.title)]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(at, column)| needed(at, column)).collect();
        let gaps = 2 * widths.len().saturating_sub(1);
        let mut total = widths.iter().sum::<usize>() + gaps;
        while total > most {
            let shrinkable = widths.iter_mut().zip(&self.columns).filter(|(_, it)| it.kind == Kind::Text);
            let Some((widest, _)) = shrinkable.max_by_key(|(width, _)| **width) else { break };
            if *widest <= NARROWEST {
                break;
            }
            *widest -= 1;
            total -= 1;
        }
        widths
    }
}

fn line<'a>(
    out: &mut String,
    columns: &[Column],
    widths: &[usize],
    cells: impl Iterator<Item = (&'a str, Look)>,
    colours: Colours,
) {
    let mut written = String::new();
    for ((column, width), (text, look)) in columns.iter().zip(widths).zip(cells) {
        let text = cut(text, *width);
        let space = " ".repeat(width.saturating_sub(columns_of(&text)));
        let text = look.paint(&text, colours);
        match column.kind {
            Kind::Number => written.push_str(&(space + &text)),
            Kind::Text | Kind::Whole => written.push_str(&(text + &space)),
        }
        written.push_str("  ");
    }
    out.push_str(written.trim_end());
    out.push('\n');
}

/// At most `width` columns of a terminal, with `…` where something is left out.
fn cut(text: &str, width: usize) -> String {
    if columns_of(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += columns_of_char(c);
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

/// Columns of a terminal that a character takes: the scripts of East Asia and pictures take two (Unicode UAX #11, in short),
/// accents that stand above another none.
fn columns_of_char(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Columns of the terminal.
pub(super) fn width() -> usize {
    terminal_size::terminal_size().map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0).max(40))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table =
            Table::new([Column::whole("address"), Column::number("count"), Column::text("what happened")]);
        table.row([Cell::new("192.0.2.1"), Cell::shown(7), Cell::new("a scan of many ports, and more")]);
        table.row([Cell::new("2001:db8::1"), Cell::shown(1_234), Cell::new("x\x1b[2J")]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_needed_and_numbers_stand_right() {
        assert_eq!(
            table().render(100, Colours::No),
            "address      count  what happened\n\
             192.0.2.1        7  a scan of many ports, and more\n\
             2001:db8::1   1234  x\\x1b[2J\n"
        );
    }

    #[test]
    fn what_is_too_wide_is_cut_where_it_may_be() {
        assert_eq!(
            table().render(34, Colours::No),
            "address      count  what happened\n\
             192.0.2.1        7  a scan of man…\n\
             2001:db8::1   1234  x\\x1b[2J\n"
        );
        // Addresses and numbers stay whole however narrow it is.
        let narrow = table().render(5, Colours::No);
        assert!(narrow.contains("2001:db8::1   1234  x\\x1b[2J"), "{narrow}");
        assert!(narrow.contains("192.0.2.1        7  a scan …"), "{narrow}");
    }

    #[test]
    fn wide_characters_count_twice_and_accents_not_at_all() {
        assert_eq!((columns_of("日本"), columns_of("e\u{301}"), columns_of("grün")), (4, 1, 4));
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new([Column::text("level"), Column::text("kind")]);
        table.row([Cell::new("high").look(Look::of_level("high")), Cell::new("SCAN")]);
        let coloured = table.render(80, Colours::Yes);
        assert!(coloured.ends_with("\x1b[31mhigh\x1b[0m   SCAN\n"), "{coloured:?}");
        let plain: String = table.render(80, Colours::No);
        assert_eq!(plain, "level  kind\nhigh   SCAN\n");
    }
}
