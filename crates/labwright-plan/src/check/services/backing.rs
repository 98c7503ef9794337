//! Which database or queue a variable of the environment points to.
//! Knows forms of addresses; which service has which address is asked elsewhere.

/// Protocols that nothing but a store, a queue or a directory speaks.
const SCHEMES: &[&str] = &[
    "amqp",
    "amqps",
    "kafka",
    "ldap",
    "ldaps",
    "mariadb",
    "mongodb",
    "mssql",
    "mysql",
    "mysql2",
    "nats",
    "pgsql",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "sqlserver",
    "valkey",
];

/// Words of a variable's name that say what it leads to.
const STORES: &[&str] = &[
    "AMQP",
    "DATABASE",
    "DB",
    "KAFKA",
    "LDAP",
    "MARIADB",
    "MONGO",
    "MONGODB",
    "MSSQL",
    "MYSQL",
    "NATS",
    "PG",
    "POSTGRES",
    "POSTGRESQL",
    "RABBITMQ",
    "REDIS",
    "SQL",
    "VALKEY",
];

/// Words that say that its value is an address.
const ADDRESSES: &[&str] =
    &["ADDR", "ADDRESS", "BROKER", "BROKERS", "DSN", "ENDPOINT", "HOST", "HOSTNAME", "HOSTS", "SERVER", "URI", "URL"];

/// The hosts that a variable names as its database, in lower case; none where it is about something else.
pub fn hosts(key: &str, value: &str) -> Vec<String> {
    let key = key.to_uppercase();
    let words: Vec<&str> = key.split(|c: char| !c.is_alphanumeric()).collect();
    let of_a_store = words.iter().any(|word| STORES.contains(word)) || key == "PGHOST";
    let is_address = words.last().is_some_and(|last| ADDRESSES.contains(last)) || key == "PGHOST";
    if let Some((scheme, rest)) = value.split_once("://") {
        let scheme = scheme.rsplit(':').next().unwrap_or(scheme);
        let scheme = scheme.split('+').next().unwrap_or(scheme).to_lowercase();
        return if SCHEMES.contains(&scheme.as_str()) { authority(rest) } else { Vec::new() };
    }
    if value.contains(';') && (of_a_store || key.contains("CONNECTION")) {
        return value.split(';').filter_map(of_connection_string).collect();
    }
    if of_a_store && is_address { authority(value) } else { Vec::new() }
}

/// `user:password@one:1234,two:1234/name?options`
fn authority(text: &str) -> Vec<String> {
    let hosts = text.split(['/', '?', '#', ';']).next().unwrap_or(text);
    let hosts = hosts.rsplit('@').next().unwrap_or(hosts);
    hosts.split(',').filter_map(without_port).collect()
}

/// `Server=tcp:db,1433` of `Server=tcp:db,1433;Database=app`.
fn of_connection_string(part: &str) -> Option<String> {
    let (key, value) = part.split_once('=')?;
    let is_host = ["server", "host", "data source", "address", "addr"].contains(&key.trim().to_lowercase().as_str());
    let value = value.trim();
    let value = value.strip_prefix("tcp:").unwrap_or(value);
    if is_host { without_port(value.split([',', '\\']).next()?) } else { None }
}

fn without_port(host: &str) -> Option<String> {
    let host = host.trim().split(':').next()?;
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    is_name.then(|| host.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::hosts;

    #[test]
    fn databases_in_the_usual_forms() {
        for (key, value, found) in [
            ("DATABASE_URL", "postgres://u:${secret.pg}@db:5432/app?x=y", "db"),
            ("ANYTHING", "jdbc:postgresql://DB/app", "db"),
            ("SQLALCHEMY", "postgresql+psycopg2://u:p@db/app", "db"),
            ("MONGO", "mongodb+srv://a:1,b:2/x", "a b"),
            ("DB_HOST", "db", "db"),
            ("PGHOST", "db", "db"),
            ("REDIS_ADDR", "cache:6379", "cache"),
            ("ConnectionStrings__Default", "Server=tcp:sql,1433;Database=x", "sql"),
            ("ConnectionStrings__Default", "Host=pg;Port=5432", "pg"),
            ("DB_NAME", "db", ""),
            ("POSTGRES_PASSWORD", "db", ""),
            ("BASE_URL", "https://db", ""),
            ("DATABASE_URL", "https://db", ""),
            ("DB_HOST", "/run/postgresql", ""),
            ("DB_HOST", "::1", ""),
            ("HOST", "db", ""),
        ] {
            assert_eq!(hosts(key, value).join(" "), found, "{key}={value}");
        }
    }
}
