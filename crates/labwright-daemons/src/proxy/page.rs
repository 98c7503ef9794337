//! What a person sees when there is nothing to show: what, why, and what to do. Programs get the same as plain text.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::body::Body;

/// Text that means nothing in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains("text/html")))
}

/// A page: a heading, and paragraphs.
pub fn page(status: StatusCode, asked: &HeaderMap, heading: &str, lines: &[String]) -> Response<Body> {
    let html = wants_html(asked);
    let text = match html {
        false => {
            let mut text = format!("{heading}\n");
            lines.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
            text
        }
        true => {
            let lines: String = lines.iter().map(|line| format!("<p>{}</p>\n", escape(line))).collect();
            // A page about something that is starting asks again by itself.
            let again = match status {
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                    "<meta http-equiv=\"refresh\" content=\"5\">\n"
                }
                _ => "",
            };
            format!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{again}<title>{heading}</title>\n\
                 <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:12vh auto;padding:0 1rem;\
                 color:#222;background:#fff}}h1{{font-size:1.4rem}}small{{color:#666}}\
                 @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}}}</style>\n</head>\n<body>\n\
                 <h1>{heading}</h1>\n{lines}<p><small>{code}</small></p>\n</body>\n</html>\n",
                heading = escape(heading),
                code = status
            )
        }
    };
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status;
    let kind = if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer without a body, and with one header.
pub fn bare(status: StatusCode, name: header::HeaderName, value: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(name, value);
    response
}
