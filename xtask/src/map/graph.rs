//! Who may depend on whom.

use std::collections::BTreeSet;

use super::house::{House, Room};

/// The drawing of `ARCHITECTURE.md`: each crate with those of ours it may name in its manifest, for its tests
/// as well. What is not drawn is not allowed.
const DRAWING: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("store", &["protocol"]),
    ("workspace", &["store", "protocol"]),
    ("server", &["workspace", "store", "protocol"]),
    ("client", &["protocol"]),
    ("python", &["client", "protocol"]),
    ("cli", &["server", "client", "protocol"]),
    ("e2e", &["server", "client", "workspace", "store", "protocol"]),
    (
        "benches",
        &["e2e", "server", "client", "workspace", "store", "protocol"],
    ),
    ("examples", &["client", "protocol"]),
    ("xtask", &[]),
];

/// Libraries that move bytes between machines, each with its family: `hyper` stands for `hyper-util` too.
const TRANSPORTS: &[&str] = &[
    "axum",
    "h2",
    "hyper",
    "reqwest",
    "tokio-tungstenite",
    "tonic",
    "tower-http",
    "tungstenite",
    "ureq",
];
const TRANSPORT_ROOMS: &[&str] = &["benches", "client", "e2e", "server"];

const STORAGE: &[&str] = &["libsqlite3-sys", "rusqlite", "sqlx"];
const STORAGE_ROOMS: &[&str] = &["store"];

/// A storage engine, and a peer to measure beside.
const PEER: &[&str] = &["async-nats"];
const PEER_ROOMS: &[&str] = &["benches", "store"];

const SERVER_SIDE: &[&str] = &["server", "store", "workspace"];

/// Dependencies between our crates that the drawing does not have.
pub(super) fn direction(house: &House) -> Vec<String> {
    house
        .crates
        .iter()
        .flat_map(|user| undrawn(house, user))
        .collect()
}

fn undrawn(house: &House, room: &Room) -> Vec<String> {
    let Some((_, allowed)) = DRAWING.iter().find(|(name, _)| *name == room.name) else {
        return vec![format!(
            "{} is not in the drawing; add it to xtask/src/map/graph.rs",
            room.folder
        )];
    };
    let is_ours = |name: &str| house.crates.iter().any(|room| room.name == name);
    let named = room
        .dependencies
        .iter()
        .filter_map(|name| name.strip_prefix("openagents-"));
    named
        .filter(|name| is_ours(name) && *name != room.name && !allowed.contains(name))
        .map(|name| format!("{} depends on {name}", room.folder))
        .collect()
}

/// Transport libraries where they do not belong.
pub(super) fn transport(house: &House) -> Vec<String> {
    confined(house, TRANSPORTS, TRANSPORT_ROOMS)
}

/// Storage libraries where they do not belong.
pub(super) fn storage(house: &House) -> Vec<String> {
    let mut wrong = confined(house, STORAGE, STORAGE_ROOMS);
    wrong.extend(confined(house, PEER, PEER_ROOMS));
    wrong
}

fn confined(house: &House, libraries: &[&str], rooms: &[&str]) -> Vec<String> {
    let of_family = |name: &str, library: &str| {
        name.strip_prefix(library)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let outside = house
        .crates
        .iter()
        .filter(|room| !rooms.contains(&room.name.as_str()));
    outside
        .flat_map(|room| room.dependencies.iter().map(move |name| (room, name)))
        .filter(|(_, name)| libraries.iter().any(|library| of_family(name, library)))
        .map(|(room, name)| format!("{} depends on {name}", room.folder))
        .collect()
}

/// Server-side crates that come with the client, over however many corners.
pub(super) fn small_client(house: &House) -> Vec<String> {
    let Some(client) = house.crates.iter().find(|room| room.name == "client") else {
        return vec!["there is no client".to_owned()];
    };
    let reached = reachable(house, &client.id);
    let server_side = house
        .crates
        .iter()
        .filter(|room| SERVER_SIDE.contains(&room.name.as_str()));
    server_side
        .filter(|room| reached.contains(room.id.as_str()))
        .map(|room| format!("{} reaches {}", client.folder, room.folder))
        .collect()
}

fn reachable<'a>(house: &'a House, start: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(house.needs.get(id).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(rooms: &[(&str, &[&str])]) -> House {
        let mut house = House::default();
        for (name, dependencies) in rooms {
            let dependencies: Vec<String> = dependencies.iter().map(|&name| name.to_owned()).collect();
            let ids = dependencies
                .iter()
                .map(|name| name.trim_start_matches("openagents-").to_owned());
            house.needs.insert((*name).to_owned(), ids.collect());
            let (id, name, folder) = ((*name).to_owned(), (*name).to_owned(), format!("crates/{name}"));
            house.crates.push(Room {
                id,
                name,
                folder,
                dependencies,
            });
        }
        house
    }

    #[test]
    fn an_arrow_against_the_drawing_is_reported() {
        let house = house(&[
            ("store", &["openagents-protocol", "openagents-server"]),
            ("server", &[]),
        ]);
        assert_eq!(direction(&house), ["crates/store depends on server"]);
    }

    #[test]
    fn a_crate_outside_the_drawing_is_reported() {
        assert_eq!(direction(&house(&[("attic", &[])])).len(), 1);
    }

    #[test]
    fn a_transport_library_and_its_family_stay_in_their_rooms() {
        let house = house(&[
            ("server", &["hyper"]),
            ("cli", &["hyper-util", "hyperion", "serde"]),
        ]);
        assert_eq!(transport(&house), ["crates/cli depends on hyper-util"]);
    }

    #[test]
    fn a_storage_engine_stays_in_the_store() {
        let house = house(&[("store", &["rusqlite"]), ("workspace", &["rusqlite"])]);
        assert_eq!(storage(&house), ["crates/workspace depends on rusqlite"]);
    }

    #[test]
    fn a_client_that_reaches_the_server_side_over_a_corner_is_reported() {
        let rooms: &[(&str, &[&str])] = &[
            ("client", &["corner"]),
            ("corner", &["openagents-store"]),
            ("store", &[]),
        ];
        assert_eq!(
            small_client(&house(rooms)),
            ["crates/client reaches crates/store"]
        );
    }
}
