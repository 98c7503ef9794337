//! Conditions in Gatus' language, as far as they can be asked of an answer of this machine.
//! <https://github.com/TwiN/gatus#conditions>

use std::time::Duration;

/// What a probe was answered.
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub took: Duration,
}

const OPERATORS: &[&str] = &["==", "!=", "<=", ">=", "<", ">"];

/// Whether an answer fits.
///
/// # Errors
/// How it does not, in words.
pub fn judge(condition: &str, answer: &Answer) -> Result<(), String> {
    let parted = OPERATORS.iter().find_map(|operator| {
        let (left, right) = condition.split_once(&format!(" {operator} "))?;
        Some((left.trim(), *operator, right.trim()))
    });
    let Some((left, operator, right)) = parted else {
        return Err(format!("the condition `{condition}` is not understood; write `[STATUS] == 200`"));
    };
    let found = value(left, answer)?;
    if holds(&found, operator, right)? {
        return Ok(());
    }
    let shown: String = found.chars().take(80).collect();
    Err(format!("{left} is `{shown}`, and has to be {operator} {right}"))
}

fn value(placeholder: &str, answer: &Answer) -> Result<String, String> {
    let inner = |function: &str| placeholder.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(inner) = inner("len") {
        let found = value(inner, answer)?;
        let list = serde_json::from_str::<Vec<serde_json::Value>>(&found).map(|list| list.len());
        return Ok(list.unwrap_or(found.len()).to_string());
    }
    if let Some(inner) = inner("has") {
        return Ok(value(inner, answer).is_ok_and(|found| !found.is_empty()).to_string());
    }
    match placeholder {
        "[STATUS]" => Ok(answer.status.to_string()),
        "[RESPONSE_TIME]" => Ok(answer.took.as_millis().to_string()),
        "[CONNECTED]" => Ok("true".to_string()),
        "[BODY]" => Ok(answer.body.trim().to_string()),
        other => {
            let Some(path) = other.strip_prefix("[BODY]") else {
                return Err(format!(
                    "`{other}` is not known in conditions; there are [STATUS], [RESPONSE_TIME], [BODY]"
                ));
            };
            let body: serde_json::Value =
                serde_json::from_str(&answer.body).map_err(|_| format!("{other}: the body is no JSON"))?;
            // `.a[0].b` as a JSON pointer (RFC 6901).
            let pointer = path.replace('[', ".").replace(']', "").replace('.', "/");
            match body.pointer(&pointer) {
                Some(serde_json::Value::String(text)) => Ok(text.clone()),
                Some(value) => Ok(value.to_string()),
                None => Err(format!("{other} is not in the body")),
            }
        }
    }
}

fn holds(found: &str, operator: &str, wanted: &str) -> Result<bool, String> {
    if let Some(any) = wanted.strip_prefix("any(").and_then(|rest| rest.strip_suffix(')')) {
        let one = any.split(',').any(|one| fits(found, one.trim()));
        return Ok(one == (operator == "=="));
    }
    match operator {
        "==" => Ok(fits(found, wanted)),
        "!=" => Ok(!fits(found, wanted)),
        _ => {
            let number = |text: &str| {
                text.parse::<f64>().map_err(|_| format!("`{text}` is no number, and `{operator}` compares numbers"))
            };
            let (found, wanted) = (number(found)?, number(wanted)?);
            Ok(match operator {
                "<" => found < wanted,
                "<=" => found <= wanted,
                ">" => found > wanted,
                _ => found >= wanted,
            })
        }
    }
}

fn fits(found: &str, wanted: &str) -> bool {
    let Some(pattern) = wanted.strip_prefix("pat(").and_then(|rest| rest.strip_suffix(')')) else {
        return found == wanted;
    };
    let escaped: Vec<String> = pattern.split('*').map(regex::escape).collect();
    regex::Regex::new(&format!("(?s)^{}$", escaped.join(".*"))).is_ok_and(|regex| regex.is_match(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_or_say_how_not() {
        let answer = Answer {
            status: 200,
            body: r#"{ "state": "up", "list": [1, 2], "db": { "ok": true } }"#.into(),
            took: Duration::from_millis(40),
        };
        for holds in [
            "[STATUS] == 200",
            "[STATUS] != 500",
            "[STATUS] < 300",
            "[STATUS] == any(200, 204)",
            "[RESPONSE_TIME] <= 40",
            "[CONNECTED] == true",
            "[BODY] == pat(*\"state\"*)",
            "[BODY].state == up",
            "[BODY].db.ok == true",
            "[BODY].list[1] == 2",
            "len([BODY].list) == 2",
            "has([BODY].none) == false",
        ] {
            assert_eq!(judge(holds, &answer), Ok(()), "{holds}");
        }
        for (fails, says) in [
            ("[STATUS] == 201", "[STATUS] is `200`, and has to be == 201"),
            ("[STATUS] != any(200, 204)", "[STATUS] is `200`"),
            ("[BODY].none == 1", "is not in the body"),
            ("[BODY].state > 1", "`up` is no number"),
            ("[WEATHER] == fine", "`[WEATHER]` is not known"),
            ("status is fine", "is not understood"),
        ] {
            let why = judge(fails, &answer).unwrap_err();
            assert!(why.contains(says), "{fails}: {why}");
        }
    }
}
