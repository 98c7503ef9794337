//! Where a visitor is, from a MaxMind database on this host; read again when its file changes.
//! Looks nothing up elsewhere: no address leaves this host.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use maxminddb::Reader;

const NAMES: [HeaderName; 5] = [
    HeaderName::from_static("x-geo-country"),
    HeaderName::from_static("x-geo-region"),
    HeaderName::from_static("x-geo-city"),
    HeaderName::from_static("x-geo-latitude"),
    HeaderName::from_static("x-geo-longitude"),
];
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(10);

pub struct Geo {
    path: PathBuf,
    reader: RwLock<Result<Reader<Vec<u8>>, String>>,
    looked: Mutex<(Instant, Option<SystemTime>)>,
}

impl Geo {
    pub fn of(path: PathBuf) -> Geo {
        let changed = changed(&path);
        let reader = RwLock::new(open(&path));
        Geo { path, reader, looked: Mutex::new((Instant::now(), changed)) }
    }

    /// Why nobody can be told where a visitor is.
    pub fn fault(&self) -> Option<String> {
        self.reader.read().unwrap_or_else(PoisonError::into_inner).as_ref().err().cloned()
    }

    /// Reads the file again where it has changed. A file that is broken leaves the old one in use.
    pub fn refresh(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.0.elapsed() < LOOK {
            return;
        }
        let changed = changed(&self.path);
        let same = changed == looked.1;
        *looked = (Instant::now(), changed);
        if same {
            return;
        }
        match open(&self.path) {
            Ok(reader) => {
                tracing::info!(path = %self.path.display(), "a new geo database is in use");
                *self.reader.write().unwrap_or_else(PoisonError::into_inner) = Ok(reader);
            }
            Err(reason) => {
                tracing::error!(reason, "the new geo database is not used");
                let mut reader = self.reader.write().unwrap_or_else(PoisonError::into_inner);
                if reader.is_err() {
                    *reader = Err(reason);
                }
            }
        }
    }

    /// Says where an address is, in place of whatever the client said.
    pub fn tell(&self, headers: &mut HeaderMap, address: IpAddr) {
        NAMES.iter().for_each(|name| drop(headers.remove(name)));
        let reader = self.reader.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(reader) = &*reader else { return };
        let Ok(found) = reader.lookup(address) else { return };
        let Ok(Some(city)) = found.decode::<maxminddb::geoip2::City<'_>>() else { return };
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let region = city.subdivisions.first().and_then(|region| region.iso_code).map(str::to_string);
        let values = [
            city.country.iso_code.map(str::to_string),
            region,
            city.city.names.english.map(str::to_string),
            number(city.location.latitude),
            number(city.location.longitude),
        ];
        for (name, value) in NAMES.iter().zip(values) {
            // Names of cities are not ASCII everywhere: a header holds them as the bytes of UTF-8.
            if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

fn changed(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn open(path: &std::path::Path) -> Result<Reader<Vec<u8>>, String> {
    Reader::open_readfile(path)
        .map_err(|error| format!("the geo database `{}` cannot be read: {error}", path.display()))
}
