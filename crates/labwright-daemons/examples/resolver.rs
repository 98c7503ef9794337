//! The resolver alone, for measuring it and for trying a snapshot: `resolver SNAPSHOT.json ADDRESS:PORT FOLDER [SOCKETS]`.
//!
//! Prints one line when it answers and one when lists hold; ends with its standard input.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use labwright_daemons::dns::{Server, listen};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let arguments: Vec<String> = std::env::args().collect();
    let [_, snapshot, address, folder, rest @ ..] = &arguments[..] else {
        return Err("resolver SNAPSHOT.json ADDRESS:PORT FOLDER [SOCKETS]".into());
    };
    let snapshot = serde_json::from_slice(&std::fs::read(snapshot)?)?;
    let sockets = rest.first().map_or(Ok(1), |count| count.parse())?;
    let server = Server::start(listen(address.parse()?, sockets)?, snapshot, Path::new(folder))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "answering after {} ms", begun.elapsed().as_millis())?;
    out.flush()?;
    while !server.lists_are_ready() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let names = server.statistics(0).listed;
    writeln!(out, "{names} names of lists in use after {} ms", begun.elapsed().as_millis())?;
    out.flush()?;
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    server.stop(Duration::from_secs(1));
    Ok(())
}
