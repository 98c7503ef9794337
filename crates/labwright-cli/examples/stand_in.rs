//! Stands in for a program that takes a while to start: it sleeps, then answers every request with its name.
//!
//! `stand_in PORT MILLISECONDS NAME` serves; `stand_in load PORT FILE` hands a file to one that serves, as a database's own
//! program would load it; `stand_in work MILLISECONDS` does its work and ends.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["work", millis] => {
            std::thread::sleep(Duration::from_millis(number(millis)?));
            say("its work is done")
        }
        ["load", port, file] => load(number(port)?, file),
        [port, millis, name] => serve(number(port)?, number(millis)?, name),
        _ => Err(Error::new(ErrorKind::InvalidInput, "stand_in PORT MILLISECONDS NAME")),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::new(ErrorKind::InvalidInput, format!("`{text}` is no number")))
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

fn load(port: u16, file: &str) -> Result<()> {
    let content = std::fs::read(file)?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"POST / HTTP/1.0\r\n\r\n")?;
    stream.write_all(&content)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.0 200") {
        true => say(&format!("{file}: {} bytes", content.len())),
        false => Err(Error::other(format!("it was not taken: {answer}"))),
    }
}

fn serve(port: u16, millis: u64, name: &str) -> Result<()> {
    say(&format!("starting, which takes {millis} ms"))?;
    std::thread::sleep(Duration::from_millis(millis));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    say(&format!("listening on port {port}"))?;
    for stream in listener.incoming() {
        let name = name.to_string();
        std::thread::spawn(move || stream.and_then(|stream| answer(stream, &name)));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, name: &str) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut asked = [0; 4096];
    let count = stream.read(&mut asked)?;
    if asked[..count].starts_with(b"POST") {
        // A whole file comes: it ends when whoever sends it says so.
        while stream.read(&mut asked)? > 0 {}
        say("loaded what was sent")?;
    }
    let text = format!("this is {name}\n");
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}
