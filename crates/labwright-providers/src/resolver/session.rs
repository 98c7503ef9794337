//! The names of a resolver, seen and changed from its own host. One way in is kept for a whole run: a login is dear.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use labwright_plan::{
    Action, Context, ErrorKind, Observed, Progress, ProviderError, ResourceId, Seen, Session, Spec, Step, Value, Wanted,
};

use super::adguard::AdGuard;
use super::book::{Book, answers, settle, spelled};
use super::pihole::PiHole;
use crate::api::{Api, observe};
use crate::host::session::text;

/// A resolver: which program, and where.
type Where = (String, String);

/// What the engine said of this host, and the ways in.
pub struct Here {
    context: Context,
    open: Mutex<BTreeMap<Where, Arc<dyn Book>>>,
    /// Neither program is known to add entries of two requests at once without losing one.
    writing: Mutex<()>,
}

impl Here {
    pub fn new(context: &Context) -> Here {
        Here { context: context.clone(), open: Mutex::default(), writing: Mutex::default() }
    }

    fn book(&self, spec: &Spec) -> Result<Arc<dyn Book>, ProviderError> {
        let key = at(spec);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = open.get(&key) {
            return Ok(Arc::clone(book));
        }
        let product = if key.0 == "adguard" { "AdGuard Home" } else { "Pi-hole" };
        let api = Api::new(product, &key.1)?;
        let password = match spec.contains_key("password") {
            true => Some(crate::vault::secret(&self.context, spec, "password")?),
            false => None,
        };
        if password.is_some() && !api.is_private() {
            let message = format!("the password of {} would be readable over the network", api.place());
            return Err(ProviderError::new(ErrorKind::Auth, message)
                .help("write `https://`, or an address of the host that `platform.dns.on` names"));
        }
        let book: Arc<dyn Book> = match password {
            Some(password) if key.0 == "adguard" => {
                Arc::new(AdGuard::new(api, text(spec, "user").unwrap_or_default(), password.expose()))
            }
            None if key.0 == "adguard" => return Err(ProviderError::bug("an AdGuard Home without a password")),
            password => Arc::new(PiHole::new(api, password)),
        };
        open.insert(key, Arc::clone(&book));
        Ok(book)
    }
}

fn at(spec: &Spec) -> Where {
    let of = |field| text(spec, field).unwrap_or_default().to_string();
    (of("software"), of("address"))
}

impl Session for Here {
    fn observe(&self, wanted: &[Wanted<'_>]) -> BTreeMap<ResourceId, Seen> {
        let entries = |spec| self.book(spec)?.entries();
        observe(wanted, at, entries, |wanted, entries| match entries {
            Ok(entries) => {
                let answers = answers(entries, wanted.id.name());
                if answers.is_empty() {
                    return Seen::Absent;
                }
                let spec = Spec::from([("answers".to_string(), answers.into_iter().collect::<Value>())]);
                Seen::Present(Observed { spec, data: None })
            }
            Err(error) => Seen::Unknown(error.clone()),
        })
    }

    fn apply(&self, step: &Step, _: &dyn Progress) -> Result<(), ProviderError> {
        if matches!(step.action, Action::Adopt | Action::Release) {
            return Ok(());
        }
        let book = self.book(&step.spec)?;
        let wanted: BTreeSet<String> = match step.action {
            Action::Delete => BTreeSet::new(),
            _ => {
                let all = step.spec.get("answers").and_then(Value::list).unwrap_or_default();
                all.iter().filter_map(Value::text).map(spelled).collect()
            }
        };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        settle(book.as_ref(), step.id.name(), &wanted)
    }

    /// Both write down what they were told before they answer.
    fn persist(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}
