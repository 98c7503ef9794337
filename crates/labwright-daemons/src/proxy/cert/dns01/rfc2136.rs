//! A name server that takes updates (RFC 2136), signed with a key that it knows (TSIG, RFC 8945).

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_net::client::{Client, ClientHandle};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::xfer::DnsMultiplexer;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType, TSigner};

use super::Dns;

const TIME: Duration = Duration::from_secs(10);
const PORT: u16 = 53;
/// Clocks may differ by so many seconds; RFC 8945 recommends it.
const FUDGE: u16 = 300;
const TTL: u32 = 60;

fn signer(dns: &Dns) -> Result<TSigner, String> {
    let wanted = &dns.wanted;
    let key = STANDARD.decode(dns.token.trim()).map_err(|_| "the key's secret is not base64")?;
    let algorithm = match wanted.algorithm.as_str() {
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        _ => TsigAlgorithm::HmacSha256,
    };
    let name = wanted.key.as_deref().unwrap_or_default();
    let name = Name::from_ascii(name).map_err(|error| format!("`{name}` is no name of a key: {error}"))?;
    TSigner::new(key, algorithm, name, FUDGE).map_err(|error| error.to_string())
}

async fn server(text: &str) -> Result<SocketAddr, String> {
    let named = match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => text.to_string(),
        _ => format!("{text}:{PORT}"),
    };
    let mut found = tokio::net::lookup_host(&named).await.map_err(|error| format!("`{named}`: {error}"))?;
    found.next().ok_or_else(|| format!("`{named}` has no address"))
}

/// A connection to the server that is driven until it is dropped.
async fn connect(dns: &Dns, signer: Option<TSigner>) -> Result<Client<TokioRuntimeProvider>, String> {
    let server = server(dns.wanted.server.as_deref().unwrap_or_default()).await?;
    let (stream, handle) = TcpClientStream::new(server, None, Some(TIME), TokioRuntimeProvider::new());
    let stream = stream.await.map_err(|error| format!("no connection to `{server}`: {error}"))?;
    let mut multiplexer = DnsMultiplexer::new(stream, handle).with_timeout(TIME);
    if let Some(signer) = signer {
        multiplexer = multiplexer.with_signer(signer);
    }
    let (client, background) = Client::from_sender(multiplexer);
    tokio::spawn(background);
    Ok(client)
}

/// The zone that the server has a name in.
async fn zone(dns: &Dns, name: &str) -> Result<Name, String> {
    let parse = |zone: &str| Name::from_ascii(format!("{zone}.")).map_err(|error| error.to_string());
    if let Some(zone) = &dns.wanted.zone {
        return parse(zone.trim_end_matches('.'));
    }
    let mut client = connect(dns, None).await?;
    for zone in dns.zones(name) {
        let zone = parse(zone)?;
        let answer =
            client.query(zone.clone(), DNSClass::IN, RecordType::SOA).await.map_err(|error| error.to_string())?;
        if answer.answers.iter().any(|record| record.record_type() == RecordType::SOA) {
            return Ok(zone);
        }
    }
    Err(format!("the server has no zone that `{name}` is in; name it with `zone`"))
}

async fn change(dns: &Dns, name: &str, value: &str, put: Change) -> Result<(), String> {
    let zone = zone(dns, name).await?;
    let name = Name::from_ascii(format!("{name}.")).map_err(|error| error.to_string())?;
    let record = Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec![value.to_string()])));
    let mut client = connect(dns, Some(signer(dns)?)).await?;
    let records = RecordSet::from(record);
    let answer = match put {
        Change::Put => client.append(records, zone, false).await,
        Change::Take => client.delete_by_rdata(records, zone).await,
    };
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.response_code {
        ResponseCode::NoError => Ok(()),
        code => Err(format!("the server answered `{code}`")),
    }
}

enum Change {
    Put,
    Take,
}

pub async fn put(dns: &Dns, name: &str, value: &str) -> Result<(), String> {
    change(dns, name, value, Change::Put).await
}

pub async fn take(dns: &Dns, name: &str, value: &str) -> Result<(), String> {
    change(dns, name, value, Change::Take).await
}
