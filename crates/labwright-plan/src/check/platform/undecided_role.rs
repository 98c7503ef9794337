//! LW-PLT-001: something needs a role that nobody plays.

use labwright_model::lab::Expose;
use labwright_model::{Finding, Findings, Parsed, Severity, Span, Spanned, reference};

use crate::check::{Examples, Rule};

pub struct UndecidedRole;

const CODE: &str = "LW-PLT-001";

impl Rule for UndecidedRole {
    fn code(&self) -> &'static str {
        CODE
    }

    fn title(&self) -> &'static str {
        "a role that nobody plays"
    }

    fn doc(&self) -> &'static str {
        "Something leans on a role that the lab does not fill: a service for the internet without `edge.public`, one for the \
         VPN without `edge.vpn`, a certificate by DNS-01 at a provider that is not declared, secrets without a place to keep \
         them, backups without a repository, alerts without a receiver, or a role with an empty list of hosts.\n\n\
         The way out: fill the role, or take out what leans on it."
    }

    fn examples(&self) -> Examples {
        Examples {
            fails: "services:\n  wiki: { external: wiki.example, expose: public }",
            passes: "edge:\n  public: { cloudflare: { account: 0a1b, zones: [example.net], tunnel: desk } }\ncompute:\n  hosts:\n    desk: { local: true }\nservices:\n  wiki: { external: wiki.example, expose: public }",
        }
    }

    fn check(&self, parsed: &Parsed, findings: &mut Findings) {
        let lab = &parsed.lab;
        let mut fault = |severity, at: String, span: Span, message: String, help: &str| {
            findings.push(Finding { severity, ..Finding::error(CODE, at, span, message).help(help) });
        };
        let first = |wanted: Expose| parsed.placements.iter().find(|placement| placement.entry.expose == wanted);
        let span_of = |service: &str| lab.services.get(service).map_or(Span::NONE, |service| service.span);
        if let (Some(placement), None) = (first(Expose::Public), &lab.edge.public) {
            let message = format!("service `{}` is public, and nothing carries public traffic", placement.service);
            fault(
                Severity::Error,
                "edge.public".into(),
                span_of(&placement.service),
                message,
                "declare `edge: { public: … }`, or expose it to `vpn` or `lan`",
            );
        }
        if let (Some(placement), None) = (first(Expose::Vpn), &lab.edge.vpn) {
            let message = format!("service `{}` is for the VPN, and there is none", placement.service);
            fault(
                Severity::Error,
                "edge.vpn".into(),
                span_of(&placement.service),
                message,
                "declare `edge: { vpn: tailscale }` or `{ vpn: { wireguard: … } }`",
            );
        }
        if let Some(wireguard) = lab.edge.vpn.as_ref().and_then(|vpn| vpn.wireguard.as_ref())
            && wireguard.on.is_none()
            && lab.edge.router.is_none()
        {
            fault(
                Severity::Error,
                "edge.vpn.wireguard".into(),
                Span::NONE,
                "WireGuard has no host to run on".into(),
                "give it `on: HOST`, or declare `edge: { router: HOST }`",
            );
        }
        let proxy = lab.platform.reverse_proxy.as_ref();
        if let Some(dns01) = proxy.and_then(|proxy| proxy.tls.dns01.as_ref())
            && dns01.value == "cloudflare"
            && lab.edge.public.as_ref().is_none_or(|public| public.cloudflare.is_none())
        {
            fault(
                Severity::Error,
                "platform.reverse_proxy.tls.dns01".into(),
                dns01.span,
                "certificates are proven at Cloudflare, and no Cloudflare account is declared".into(),
                "declare `edge: { public: { cloudflare: … } }`, or use `tls: internal`",
            );
        }
        if lab.platform.secrets.is_none()
            && let Some((secret, span)) = first_secret(parsed)
        {
            let message = format!("secret `{secret}` is used, and the lab keeps no secrets");
            fault(
                Severity::Error,
                "platform.secrets".into(),
                span,
                message,
                "declare where they are: `platform: { secrets: { age: secrets.yaml } }`",
            );
        }
        let backed_up = parsed.placements.iter().find_map(|placement| placement.entry.backup.as_ref()?.policy.as_ref());
        // An unknown policy is a fault of its own, and is not told twice.
        let backed_up = backed_up.filter(|policy| lab.protection.policies.contains_key(&policy.value));
        if let (Some(policy), true) = (backed_up, lab.protection.repositories.is_empty()) {
            fault(
                Severity::Error,
                "protection.repositories".into(),
                policy.span,
                format!("backups by policy `{}` have no repository to go to", policy.value),
                "declare one under `protection: { repositories: … }`",
            );
        }
        if let Some(monitoring) = &lab.platform.monitoring
            && monitoring.notify.is_empty()
            && let Some(to) = monitoring.routes.iter().flat_map(|route| route.to.iter()).find(|to| to.value != "none")
        {
            fault(
                Severity::Error,
                "platform.monitoring.notify".into(),
                to.span,
                "alerts are routed, and there is no receiver".into(),
                "declare receivers: `notify: { phone: \"ntfy://…\" }`",
            );
        }
    }
}

/// The first secret that anything but a host's state refers to; those have a rule of their own.
fn first_secret(parsed: &Parsed) -> Option<(String, Span)> {
    let lab = &parsed.lab;
    let cloudflare = lab.edge.public.as_ref().and_then(|public| public.cloudflare.as_ref());
    let texts: Vec<&Spanned<String>> = cloudflare
        .and_then(|cloudflare| cloudflare.token.as_ref())
        .into_iter()
        .chain(lab.protection.repositories.values().filter_map(|repository| repository.passphrase.as_ref()))
        .collect();
    let spanned = texts.iter().find_map(|text| Some((reference::secrets(text).first()?.to_string(), text.span)));
    spanned.or_else(|| {
        parsed.placements.iter().find_map(|placement| {
            let text = placement.entry.containers.0.to_string();
            let secret = reference::secrets(&text).first()?.to_string();
            Some((secret, lab.services.get(&placement.service).map_or(Span::NONE, |service| service.span)))
        })
    })
}
