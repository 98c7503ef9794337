//! What of a variable may be shown: everything but what is a secret, and rather too little than too much.

use labwright_model::reference;
use labwright_plan::check::secret_in_the_clear;

/// Parts of names whose values are nobody's business.
const HINTS: &[&str] =
    &["PASS", "PWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "PRIVATE", "SALT", "COOKIE", "SIGNATURE"];

/// The value of a variable as a page shows it.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    Value(String),
    /// It stands in the store, and is put in when the process is started: its names.
    Secrets(Vec<String>),
    /// It stands in the lab, and looks like a secret.
    Masked,
}

pub fn shown(name: &str, value: &str) -> Shown {
    let secrets = reference::secrets(value);
    if !secrets.is_empty() {
        return Shown::Secrets(secrets.into_iter().map(str::to_string).collect());
    }
    if is_hinted(name, value) || secret_in_the_clear(name, value).is_some() {
        return Shown::Masked;
    }
    Shown::Value(value.to_string())
}

/// Whether a name, or an address in a value, says that there is a secret. What a value looks like by itself is not asked: this is
/// for the many that come in with each span.
pub fn is_hinted(name: &str, value: &str) -> bool {
    let upper = name.to_uppercase();
    !value.is_empty() && (HINTS.iter().any(|hint| upper.contains(hint)) || has_password(value))
}

/// Whether an address holds a password (`postgres://user:password@host`), or a list of settings one (`Password=…`).
fn has_password(value: &str) -> bool {
    let user = value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()?.rsplit_once('@'));
    let upper = value.to_uppercase();
    user.is_some_and(|(user, _)| user.contains(':'))
        || ["PASSWORD", "PWD", "PASSWD", "TOKEN", "SECRET", "APIKEY", "API_KEY", "ACCESSKEY"]
            .iter()
            .any(|word| upper.contains(&format!("{word}=")) || upper.contains(&format!("{word}:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_or_looks_like_a_secret_is_not_shown() {
        let masked = [
            ("DB_PASSWORD", "hunter2"),
            ("API_KEY", "x"),
            ("DATABASE_URL", "postgres://app:hunter2@localhost:5432/app"),
            ("ConnectionStrings__Db", "Host=localhost;Password=hunter2;Database=app"),
            ("REDIS", "localhost:6379,password=hunter2"),
            ("GITHUB", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
        ];
        for (name, value) in masked {
            assert_eq!(shown(name, value), Shown::Masked, "{name}");
        }
        for (name, value) in
            [("PORT", "8080"), ("URL", "http://localhost:80/a@b"), ("LOG_LEVEL", "debug"), ("PASSWORD", "")]
        {
            assert_eq!(shown(name, value), Shown::Value(value.into()), "{name}");
        }
        assert_eq!(shown("URL", "postgres://u:${secret.pg}@h"), Shown::Secrets(vec!["pg".into()]));
    }
}
