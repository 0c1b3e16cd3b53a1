//! `slips fleet`: the routers on one Redis, as each tells of itself.

use super::live::{Where, failure};
use super::table::{Cell, Column, Look, Table};
use super::{Failure, print_object, print_out};
use crate::control::api::types::{Fleet, FleetRouter, FleetState};

/// Prints them.
pub(super) fn fleet(place: &Where, json: bool) -> Result<(), Failure> {
    let client = place.client();
    let told: Fleet = client.get("/v1/fleet").map_err(|error| failure(&client, &error))?;
    if json {
        return print_object(&told);
    }
    print_out(&text(&told))
}

fn text(told: &Fleet) -> String {
    let mut table = Table::new([
        Column::whole("ROUTER"),
        Column::whole("ROLE"),
        Column::whole("STATE"),
        Column::whole("MODE"),
        Column::number("FLOWS/S"),
        Column::number("ALERTS"),
        Column::number("BLOCKS"),
        Column::text("VERSION"),
    ]);
    told.routers.iter().for_each(|router| table.row(row(router, &told.router)));
    let mut text = table.show();
    if !told.reached {
        text += "Redis is not reached: this is what was known last.\n";
    }
    if told.unread > 0 {
        text += &format!("{} names and values in Redis make no sense.\n", told.unread);
    }
    if told.refused > 0 {
        text += &format!("{} blocks of others were not believed.\n", told.refused);
    }
    text
}

fn row(router: &FleetRouter, own: &str) -> Vec<Cell> {
    let (state, look) = match router.state {
        FleetState::Up => ("up", Look::Plain),
        FleetState::Late => ("late", Look::Yellow),
        FleetState::Gone => ("gone", Look::Red),
    };
    let name = Cell::new(&router.router);
    let name = if router.router == own { name.look(Look::Bold) } else { name };
    let mut cells = vec![name, Cell::new(&router.role), Cell::new(state).look(look)];
    match &router.wrong {
        None => cells.extend([
            Cell::new(&router.mode),
            Cell::shown(router.flows_per_second),
            Cell::shown(router.alerts),
            Cell::shown(router.blocks),
            Cell::new(&router.version),
        ]),
        Some(wrong) => cells.extend(["", "", "", "", wrong].map(Cell::new)),
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_router_is_a_line_and_what_makes_no_sense_is_harmless() {
        let one = FleetRouter {
            router: "gw1".into(),
            role: "active".into(),
            state: FleetState::Up,
            mode: "enforce".into(),
            version: "0.1.0".into(),
            flows_per_second: 7,
            alerts: 1,
            blocks: 12,
            ..FleetRouter::default()
        };
        let wrong = Some("it is \x1b[2J of another version".to_owned());
        let other =
            FleetRouter { router: "gw2".into(), role: "standby".into(), wrong, ..FleetRouter::default() };
        let told = Fleet { routers: vec![one, other], unread: 1, ..Fleet::default() };
        let text = text(&told);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(
            lines[1].starts_with("gw1") && lines[1].contains("enforce") && lines[1].contains("12"),
            "{text}"
        );
        assert!(lines[2].contains("gone") && lines[2].contains("of another version"), "{text}");
        assert!(!text.contains('\x1b') && lines[3].starts_with("Redis is not reached"), "{text}");
    }
}
