//! From the lab's Vault to what its servers shall hold, and what their hosts need for it.
//! Pure. Policies follow from what hosts and services read; who unseals whom is said in the lab file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use labwright_model::lab::{self, File, Host, https};
use labwright_model::units::Mode;
use labwright_model::{Finding, Findings, Parsed, Span, Spanned, beside, codes, reference};
use labwright_plan::sealed::readers;
use labwright_plan::{Input, Lowered, Resource, ResourceId, Sealed, Value};
use labwright_secrets::SecretError;
use labwright_secrets::vault::policy;
use labwright_secrets::vault::seal::{TlsSkip, stanza};

use super::transit_key;
use crate::host::paths::normal;
use crate::host::{managed, unit_environment};

const PORT: u16 = 8200;
/// Where the transit engine is mounted on the server that unseals.
const TRANSIT: &str = "transit";
/// A month: the main server may be off for so long and still open by itself. It renews the token long before.
const PERIOD_SECONDS: i64 = 30 * 86_400;
const AT: &str = "platform.secrets.vault";

fn declared(parsed: &Parsed) -> Option<&lab::Vault> {
    parsed.lab.platform.secrets.as_ref()?.vault.as_ref()
}

/// The certificate authority beside the lab file.
fn ca(parsed: &Parsed, vault: &lab::Vault) -> Option<String> {
    let ca = vault.ca.as_ref()?;
    let from = parsed.sources.get(ca.span.file).map_or("", |source| source.name.as_str());
    Some(beside(from, ca))
}

/// The files beside the lab file that this needs.
pub fn assets(parsed: &Parsed) -> Vec<String> {
    declared(parsed).and_then(|vault| ca(parsed, vault)).into_iter().collect()
}

fn address(parsed: &Parsed, url: Option<&Spanned<String>>, host: &str) -> String {
    let own = || parsed.lab.host(host).and_then(|host| host.address.first()).map(|address| address.to_string());
    url.map(|url| url.value.clone()).unwrap_or_else(|| https(&own().unwrap_or_else(|| host.to_string()), PORT))
}

/// The two servers of a pair, where the lab has one that can be set up.
struct Pair<'a> {
    vault: &'a lab::Vault,
    on: &'a str,
    with: &'a str,
}

impl<'a> Pair<'a> {
    fn of(parsed: &'a Parsed) -> Option<Pair<'a>> {
        let vault = declared(parsed)?;
        let (on, with) = (vault.on.as_ref()?, vault.with.as_ref()?);
        let ours = |name: &str| parsed.lab.host(name).is_some_and(managed);
        let transit = vault.unseal.as_ref().is_some_and(|unseal| unseal.value == "transit");
        (transit && ours(on) && ours(with)).then_some(Pair { vault, on, with })
    }

    /// Where the authority that signed the other server's certificate stands on the main server's host.
    fn ca_path(&self) -> Option<String> {
        let folder = self.vault.config.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.vault.ca.as_ref().map(|_| format!("{folder}/seal-ca.pem"))
    }

    fn stanza(&self, parsed: &Parsed) -> String {
        let address = address(parsed, self.vault.with_url.as_ref(), self.with);
        let text = stanza(&address, &self.vault.key, TRANSIT, self.ca_path().as_deref(), TlsSkip::No);
        format!("# Written by labwright. The token comes from the environment of `{}`.\n{text}", self.vault.unit.value)
    }

    fn span(&self) -> Span {
        self.vault.unseal.as_ref().map_or(Span::NONE, |unseal| unseal.span)
    }
}

/// A host with what follows from the lab's Vault: the file with its seal, and the token in its unit's environment.
pub fn implied<'a>(parsed: &Parsed, name: &str, host: &'a Host) -> Cow<'a, Host> {
    let Some(pair) = Pair::of(parsed).filter(|pair| pair.on == name) else { return Cow::Borrowed(host) };
    let mut host = host.clone();
    let span = pair.span();
    let mode = Some(Spanned::from(Mode(0o644)));
    // What the lab file says of these files itself counts.
    let content = Some(Spanned::new(pair.stanza(parsed).replace("${", "$${"), span));
    let file = File { content, mode: mode.clone(), ..File::default() };
    host.files.0.entry(pair.vault.config.value.clone()).or_insert_with(|| Spanned::new(file, span));
    if let Some(path) = pair.ca_path() {
        let file = File { source: pair.vault.ca.clone(), mode, ..File::default() };
        host.files.0.entry(path).or_insert_with(|| Spanned::new(file, span));
    }
    let unit =
        host.units.0.entry(pair.vault.unit.value.clone()).or_insert_with(|| Spanned::new(Default::default(), span));
    let token = &pair.vault.unseal_token;
    let variable = || Spanned::new(token.value.clone(), token.span);
    unit.value.environment.0.entry("VAULT_TOKEN".into()).or_insert_with(variable);
    Cow::Owned(host)
}

/// Everything that the lab's Vault shall hold.
pub fn lower(input: &Input<'_>, out: &mut Lowered) {
    let parsed = input.parsed;
    let Some(vault) = declared(parsed) else { return };
    let before = out.findings.len();
    judge(vault, &mut out.findings);
    if out.findings.len() > before {
        return;
    }
    let ca = ca(parsed, vault).and_then(|path| match input.assets.get(&path) {
        Some(Ok(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        fault => {
            let why = fault.and_then(|fault| fault.as_ref().err()).map_or("it was not read", String::as_str);
            let span = vault.ca.as_ref().map_or(Span::NONE, |ca| ca.span);
            let message = format!("cannot read the certificate authority `{path}`: {why}");
            out.findings.push(Finding::error(codes::WRONG_VALUE, format!("{AT}.ca"), span, message));
            None
        }
    });
    let mut resources = policies(parsed, vault, ca.as_deref(), &out.resources, &mut out.findings);
    if let Some(pair) = Pair::of(parsed) {
        let set_up = pair_resources(parsed, &pair, ca.as_deref(), &out.resources, &mut out.findings);
        let seal = ResourceId::new(pair.on, "vault", "seal", &vault.unit);
        for policy in &mut resources {
            policy.after.insert(seal.clone());
        }
        // The unit reads its new token only after the other server knows it.
        let unit = ResourceId::new(pair.on, "host", "unit", &vault.unit);
        let token = ResourceId::new(pair.with, "vault", "token", &unseal_name(parsed));
        for resource in out.resources.iter_mut().filter(|resource| resource.id == unit) {
            resource.after.insert(token.clone());
        }
        resources.extend(set_up);
    }
    out.resources.extend(resources);
}

/// What in the lab file makes no sense here.
fn judge(vault: &lab::Vault, findings: &mut Findings) {
    let mut wrong = |key: &str, span: Span, message: String, help: &str| {
        findings.push(Finding::error(codes::WRONG_VALUE, format!("{AT}.{key}"), span, message).help(help));
    };
    if let Some(unseal) = &vault.unseal {
        if unseal.value != "transit" {
            let message = format!("`{}` is no way to unseal a Vault that is known here", unseal.value);
            wrong("unseal", unseal.span, message, "`transit`, or leave it out to unseal it by hand");
        } else if vault.on.is_none() || vault.with.is_none() {
            let missing = if vault.on.is_none() { "on" } else { "with" };
            let message = format!("`unseal: transit` takes two hosts, and `{missing}` is not there");
            wrong(
                "unseal",
                unseal.span,
                message,
                "`on: HOST` is the server's, `with: HOST` that of the one that unseals it",
            );
        } else if vault.on.as_ref().map(|on| &on.value) == vault.with.as_ref().map(|with| &with.value) {
            let message = "the Vault is unsealed by its own host, which is closed whenever it is".to_string();
            wrong("with", unseal.span, message, "name another host: one that stays up, and is unsealed by hand");
        }
    }
    let pair = [("with_token", &vault.with_token), ("unseal_token", &vault.unseal_token)];
    for (key, text) in pair.into_iter().chain(vault.token.as_ref().map(|token| ("token", token))) {
        if reference::secrets(text).is_empty() {
            let message = format!("`{key}` names no secret");
            wrong(key, text.span, message, "write `${secret.NAME}`, and keep the token under that name");
        }
    }
}

/// A resource of a server, with the way to it.
fn reached(resource: Resource, address: String, ca: Option<&str>, admin: Option<&Spanned<String>>) -> Resource {
    let admin = admin.map(|text| Value::Secret(Sealed::template(text)));
    resource.with("address", address).with_some("ca", ca).with_some("admin", admin)
}

fn unseal_name(parsed: &Parsed) -> String {
    format!("labwright-{}-unseal", parsed.lab.lab.value).to_lowercase()
}

fn pair_resources(
    parsed: &Parsed,
    pair: &Pair<'_>,
    ca: Option<&str>,
    hosts: &[Resource],
    findings: &mut Findings,
) -> Vec<Resource> {
    let vault = pair.vault;
    let (span, name) = (pair.span(), unseal_name(parsed));
    let opener = address(parsed, vault.with_url.as_ref(), pair.with);
    let on_opener = |kind: &str, name: &str| {
        let resource = Resource::new(ResourceId::new(pair.with, "vault", kind, name), span);
        let mut resource = reached(resource, opener.clone(), ca, Some(&vault.with_token));
        resource.after.insert(ResourceId::all(pair.with, "host", "unit"));
        resource
    };
    let Some(text) = told(policy::unseal(TRANSIT, &vault.key), vault.key.span, findings) else { return Vec::new() };
    let key = on_opener("transit_key", &format!("{TRANSIT}/{}", vault.key.value)).with("type", transit_key::TYPE);
    let policy = on_opener("policy", &name).with("text", text);
    let mut token = on_opener("token", &name)
        .with("id", Value::Secret(Sealed::template(&vault.unseal_token)))
        .with("policy", name.clone())
        .with("period", Value::Int(PERIOD_SECONDS));
    token.after.insert(policy.id.clone());

    let own = |kind: &str, name: &str| ResourceId::new(pair.on, "host", kind, name);
    let config = own("file", &normal(&vault.config));
    let unit = own("unit", &vault.unit);
    let content = hosts.iter().find(|resource| resource.id == config).and_then(|file| file.spec.get("content"));
    let content = content.and_then(Value::digest).map(Value::Digest).unwrap_or_default();
    let inputs = BTreeMap::from([
        (config.name().to_string(), content),
        ("VAULT_TOKEN".to_string(), Value::Secret(Sealed::template(&vault.unseal_token))),
    ]);
    let seal = Resource::new(ResourceId::new(pair.on, "vault", "seal", &vault.unit), span);
    let mut seal = reached(seal, address(parsed, vault.url.as_ref(), pair.on), ca, None)
        .with("unsealer", opener.clone())
        .with("type", "transit")
        .with("sealed", Value::Bool(false))
        .with("inputs", Value::Map(inputs));
    seal.after.extend([
        config,
        unit,
        ResourceId::all(pair.on, "host", "unit"),
        key.id.clone(),
        policy.id.clone(),
        token.id.clone(),
    ]);
    seal.after.extend(pair.ca_path().map(|path| own("file", &normal(&path))));
    // The environment of the unit is files of its own, made from the host as it is implied.
    let environment = parsed.lab.host(pair.on).map(|host| implied(parsed, pair.on, host));
    let paths = environment
        .as_ref()
        .and_then(|host| host.units.get(&vault.unit.value))
        .map(|entry| unit_environment::paths(&vault.unit, &entry.value));
    seal.after.extend(paths.into_iter().flatten().map(|path| own("file", &path)));
    vec![key, policy, token, seal]
}

/// A policy for each host, and for each service on it, that reads secrets of the Vault: for exactly those.
fn policies(
    parsed: &Parsed,
    vault: &lab::Vault,
    ca: Option<&str>,
    hosts: &[Resource],
    findings: &mut Findings,
) -> Vec<Resource> {
    let Some((on, token)) = vault.on.as_ref().zip(vault.token.as_ref()) else { return Vec::new() };
    if !parsed.lab.host(on).is_some_and(managed) {
        return Vec::new();
    }
    let lab = parsed.lab.lab.value.as_str();
    let in_vault = |name: &&str| !parsed.store.as_ref().is_some_and(|store| store.names.contains_key(*name));
    let mut reads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |who: String, names: &mut dyn Iterator<Item = &str>| {
        let paths: BTreeSet<String> = names.filter(in_vault).map(|name| vault.place(lab, name).0).collect();
        if !paths.is_empty() {
            reads.entry(format!("labwright-{lab}-{who}").to_lowercase()).or_default().extend(paths);
        }
    };
    for (host, names) in readers(hosts) {
        add(host.to_string(), &mut names.into_iter());
    }
    for placement in &parsed.placements {
        let whole = parsed.span_of(&["services", &placement.service]);
        let inside = |at: Span| at.file == whole.file && whole.start <= at.start && at.end <= whole.end;
        let names: Vec<&str> =
            parsed.secrets.iter().filter(|secret| inside(secret.span)).map(|secret| secret.value.as_str()).collect();
        for host in placement.entry.on.iter() {
            add(format!("{}-{}", host.value, placement.service), &mut names.iter().copied());
        }
    }
    let policy = |(name, paths): (String, BTreeSet<String>)| {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let text = told(policy::scoped(&vault.mount, &paths), vault.mount.span, findings)?;
        let resource = Resource::new(ResourceId::new(on, "vault", "policy", &name), token.span);
        let resource = reached(resource, address(parsed, vault.url.as_ref(), on), ca, Some(token));
        let mut resource = resource
            .with("text", text)
            .with_some("namespace", vault.namespace.as_ref().map(|name| name.value.as_str()));
        resource.after.insert(ResourceId::all(on, "host", "unit"));
        Some(resource)
    };
    reads.into_iter().filter_map(policy).collect()
}

/// A text that was made, or a finding that says why it was not.
fn told(made: Result<String, SecretError>, span: Span, findings: &mut Findings) -> Option<String> {
    made.map_err(|error| {
        let finding = Finding::error(codes::WRONG_VALUE, AT, span, error.message);
        findings.push(finding.help(error.help.unwrap_or_default()));
    })
    .ok()
}
