//! A guestbook: what visitors leave behind, kept in SQLite. The small application that `examples/starter` runs.
//! It knows nothing of Labwright: a port and a file are all that it is told.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rusqlite::Connection;

/// A name and a message take less.
const MOST_BYTES: usize = 16 << 10;

#[derive(Parser)]
struct Arguments {
    /// The port that it answers on, on this machine alone.
    #[arg(long)]
    port: u16,
    /// The file that it keeps its entries in.
    #[arg(long)]
    data: PathBuf,
}

type Book = Arc<Mutex<Connection>>;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let book = Connection::open(&arguments.data)?;
    book.execute_batch(
        "pragma journal_mode = wal;
         create table if not exists entries (id integer primary key, name text not null, text text not null,
           at text not null default current_timestamp);",
    )?;
    let book: Book = Arc::new(Mutex::new(book));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(book, arguments.port))
}

async fn serve(book: Book, port: u16) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let book = book.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(book.clone(), request));
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            // Whoever went away needs no answer.
            drop(served.await);
        });
    }
}

async fn answer(book: Book, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let answered = match (method, path.as_str()) {
        (Method::GET, "/healthz") => count(&book).map(|count| page(StatusCode::OK, format!("{count} entries\n"))),
        (Method::GET, "/") => entries(&book).map(|text| page(StatusCode::OK, text)),
        (Method::POST, "/") => match Limited::new(request.into_body(), MOST_BYTES).collect().await {
            Ok(body) => write(&book, &body.to_bytes()).map(|()| see("/")),
            Err(_) => Ok(page(StatusCode::PAYLOAD_TOO_LARGE, "that is too long for a guestbook\n".into())),
        },
        _ => Ok(page(StatusCode::NOT_FOUND, "there is one page: /\n".into())),
    };
    Ok(answered.unwrap_or_else(|error| page(StatusCode::INTERNAL_SERVER_ERROR, format!("the book is shut: {error}\n"))))
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let html = header::HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

fn see(path: &'static str) -> Response<Full<Bytes>> {
    let mut response = page(StatusCode::SEE_OTHER, String::new());
    response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static(path));
    response
}

fn count(book: &Book) -> rusqlite::Result<i64> {
    let book = book.lock().unwrap_or_else(PoisonError::into_inner);
    book.query_row("select count(*) from entries", [], |row| row.get(0))
}

fn write(book: &Book, body: &[u8]) -> rusqlite::Result<()> {
    let field = |name: &str| {
        let found = form_urlencoded::parse(body).find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim().to_string()).filter(|value| !value.is_empty())
    };
    let Some(text) = field("text") else { return Ok(()) };
    let name = field("name").unwrap_or_else(|| "somebody".into());
    let book = book.lock().unwrap_or_else(PoisonError::into_inner);
    book.execute("insert into entries (name, text) values (?1, ?2)", (name, text)).map(|_| ())
}

fn entries(book: &Book) -> rusqlite::Result<String> {
    let book = book.lock().unwrap_or_else(PoisonError::into_inner);
    let mut query = book.prepare("select name, text, at from entries order by id desc limit 100")?;
    let entry = |row: &rusqlite::Row<'_>| {
        let (name, text, at): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!("<li>{} <b>{}</b> <small>{at}</small></li>\n", plain(&text), plain(&name)))
    };
    let list: String = query.query_map([], entry)?.collect::<rusqlite::Result<_>>()?;
    Ok(format!(
        "<!doctype html><html lang=en><title>Guestbook</title><h1>Guestbook</h1>\n\
         <form method=post><input name=name placeholder=name> <input name=text placeholder=\"what you leave behind\" required> \
         <button>leave it</button></form>\n<ul>\n{list}</ul></html>\n"
    ))
}

/// Text that is no markup.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
