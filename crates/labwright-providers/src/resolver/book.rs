//! What two programs have in common: entries that say what a name is answered with, and one name made as it shall be.

use std::collections::BTreeSet;
use std::net::IpAddr;

use labwright_plan::{ErrorKind, ProviderError};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In lower case. One line of a Pi-hole may hold several.
    pub names: Vec<String>,
    /// An address as this program spells it, or a name.
    pub answer: String,
    /// As the program itself has it.
    pub text: String,
}

/// The names that one program keeps.
pub trait Book: Send + Sync {
    /// All of them, foreign ones as well.
    fn entries(&self) -> Result<Vec<Entry>, ProviderError>;
    fn add(&self, name: &str, answer: &str) -> Result<(), ProviderError>;
    fn remove(&self, entry: &Entry) -> Result<(), ProviderError>;
}

/// How often a name is made as it shall be, where somebody else works at the same entries.
const TRIES: usize = 3;

/// An answer as it is compared: addresses have several spellings.
pub fn spelled(answer: &str) -> String {
    match answer.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => answer.trim_end_matches('.').to_lowercase(),
    }
}

/// What a name is answered with.
pub fn answers(entries: &[Entry], name: &str) -> BTreeSet<String> {
    of(entries, name).map(|entry| entry.answer.clone()).collect()
}

fn of<'a>(entries: &'a [Entry], name: &'a str) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter(move |entry| entry.names.iter().any(|other| other == name))
}

/// Has a name answered so, and with nothing else; without answers, it goes.
pub fn settle(book: &dyn Book, name: &str, wanted: &BTreeSet<String>) -> Result<(), ProviderError> {
    for _ in 0..TRIES {
        let entries = book.entries()?;
        if answers(&entries, name) == *wanted {
            return Ok(());
        }
        let old: Vec<&Entry> = of(&entries, name).filter(|entry| !wanted.contains(&entry.answer)).collect();
        if let Some(shared) = old.iter().find(|entry| entry.names.len() > 1) {
            let message =
                format!("`{name}` shares the entry `{}` with other names, which are not the lab's", shared.text);
            return Err(ProviderError::new(ErrorKind::Conflict, message)
                .help(format!("give each of them an entry of its own there, or take `{name}` out of it")));
        }
        let is_alias = |answer: &str| answer.parse::<IpAddr>().is_err();
        // An alias and an address of one name contradict each other, so that one has to go first.
        let apart = old.iter().any(|entry| wanted.iter().any(|new| is_alias(new) != is_alias(&entry.answer)));
        if apart {
            old.iter().try_for_each(|entry| book.remove(entry))?;
        }
        let there = answers(&entries, name);
        wanted.difference(&there).try_for_each(|answer| book.add(name, answer))?;
        if !apart {
            old.iter().try_for_each(|entry| book.remove(entry))?;
        }
    }
    match answers(&book.entries()?, name) == *wanted {
        true => Ok(()),
        false => {
            let message = format!("`{name}` is not as it was written: somebody else works at the same entries");
            Err(ProviderError::new(ErrorKind::Conflict, message).help("apply again once that is over"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Entries in memory, and what was done to them.
    struct InMemory(Mutex<(Vec<Entry>, Vec<String>)>);

    impl InMemory {
        fn new(entries: &[(&str, &str)]) -> InMemory {
            let entry = |(names, answer): &(&str, &str)| Entry {
                names: names.split(' ').map(str::to_string).collect(),
                answer: answer.to_string(),
                text: format!("{answer} {names}"),
            };
            InMemory(Mutex::new((entries.iter().map(entry).collect(), Vec::new())))
        }
    }

    impl Book for InMemory {
        fn entries(&self) -> Result<Vec<Entry>, ProviderError> {
            Ok(self.0.lock().unwrap().0.clone())
        }
        fn add(&self, name: &str, answer: &str) -> Result<(), ProviderError> {
            let mut inner = self.0.lock().unwrap();
            inner.1.push(format!("+ {name} {answer}"));
            let entry = Entry { names: vec![name.into()], answer: answer.into(), text: format!("{answer} {name}") };
            inner.0.push(entry);
            Ok(())
        }
        fn remove(&self, entry: &Entry) -> Result<(), ProviderError> {
            let mut inner = self.0.lock().unwrap();
            inner.1.push(format!("- {} {}", entry.names.join(" "), entry.answer));
            inner.0.retain(|other| other != entry);
            Ok(())
        }
    }

    fn done(entries: &[(&str, &str)], wanted: &[&str]) -> Result<Vec<String>, ProviderError> {
        let book = InMemory::new(entries);
        settle(&book, "wiki", &wanted.iter().map(ToString::to_string).collect())?;
        Ok(book.0.into_inner().unwrap().1)
    }

    #[test]
    fn a_name_is_answered_all_the_time_and_others_are_left_alone() {
        let there = [("wiki", "10.0.0.1"), ("nas", "10.0.0.9")];
        assert_eq!(done(&there, &["10.0.0.2"]).unwrap(), ["+ wiki 10.0.0.2", "- wiki 10.0.0.1"]);
        assert_eq!(done(&there, &["10.0.0.1"]).unwrap(), [""; 0]);
        assert_eq!(done(&there, &["proxy.lab"]).unwrap(), ["- wiki 10.0.0.1", "+ wiki proxy.lab"]);
        assert_eq!(done(&there, &[]).unwrap(), ["- wiki 10.0.0.1"]);
    }

    #[test]
    fn an_entry_of_several_names_is_nobodys_to_take_apart() {
        let error = done(&[("wiki www", "10.0.0.1")], &["10.0.0.2"]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.message.contains("`10.0.0.1 wiki www`"), "{error}");
        // As long as it says what the lab says, it may stand.
        assert_eq!(done(&[("wiki www", "10.0.0.1")], &["10.0.0.1"]).unwrap(), [""; 0]);
    }

    #[test]
    fn addresses_have_several_spellings() {
        assert_eq!(spelled("FD00:0:0::1"), "fd00::1");
        assert_eq!(spelled("Proxy.Lab."), "proxy.lab");
    }
}
