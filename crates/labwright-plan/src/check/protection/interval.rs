//! How far apart the runs of a schedule are, and how far back what is kept reaches.
//! Answers for the usual forms and says nothing of the others: a guess would be a false alarm.

use std::time::Duration;

use labwright_model::lab::Keep;
use labwright_model::units::Schedule;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

/// The longest time between one run and the next.
pub fn longest_gap(schedule: &Schedule) -> Option<Duration> {
    let fields: Vec<&str> = schedule.0.split_whitespace().collect();
    let seconds = match fields[..] {
        ["minutely"] => MINUTE,
        ["hourly"] => HOUR,
        ["daily"] => DAY,
        ["weekly"] => 7 * DAY,
        ["monthly"] => 31 * DAY,
        ["quarterly"] => 92 * DAY,
        ["semiannually"] => 184 * DAY,
        ["yearly" | "annually"] => 366 * DAY,
        [minute, hour, day, month, weekday] => of_cron(minute, hour, day, month, weekday)?,
        _ => of_calendar(&fields)?,
    };
    Some(Duration::from_secs(seconds))
}

fn of_cron(minute: &str, hour: &str, day: &str, month: &str, weekday: &str) -> Option<u64> {
    let every = |field: &str| field == "*" || field == "?";
    match (every(day), every(month), every(weekday)) {
        (true, true, true) => of_time(hour, minute),
        // More than one time on such a day would make the gaps uneven.
        _ if number(hour, 23).is_none() || number(minute, 59).is_none() => None,
        (true, true, false) => weekdays(weekday, "-"),
        (false, true, true) => day_of_month(day),
        (false, false, true) if number(month, 12).is_some() => day_of_month(day).map(|_| 366 * DAY),
        _ => None,
    }
}

/// A systemd calendar expression: weekdays, a date, a time, each of which may be absent.
fn of_calendar(fields: &[&str]) -> Option<u64> {
    let (mut days, mut date, mut time) = (None, "*-*-*", None);
    for (number, field) in fields.iter().enumerate() {
        match () {
            () if field.contains(':') && time.is_none() => time = Some(*field),
            () if field.starts_with(|c: char| c.is_ascii_alphabetic()) && number == 0 => days = Some(*field),
            () if field.contains('-') && time.is_none() => date = field,
            // A time zone at the end, or a form that is not known here.
            () => return None,
        }
    }
    let mut parts = time.unwrap_or("00:00").split(':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    if parts.next().is_some_and(|second| number(second, 59).is_none()) {
        return None;
    }
    let once = number(hour, 23).is_some() && number(minute, 59).is_some();
    match (days, date.split('-').collect::<Vec<_>>().as_slice()) {
        (None, ["*", "*", "*"]) => of_time(hour, minute),
        (Some(days), ["*", "*", "*"]) if once => weekdays(days, ".."),
        (None, ["*", "*", day]) if once => day_of_month(day),
        (None, ["*", month, day]) if once && number(month, 12).is_some() => day_of_month(day).map(|_| 366 * DAY),
        _ => None,
    }
}

/// The gap of something that runs every day at these hours and minutes.
fn of_time(hour: &str, minute: &str) -> Option<u64> {
    let step = |field: &str, of: u64| match field {
        "*" => Some(1),
        _ => {
            let step =
                field.strip_prefix("*/").or_else(|| field.strip_prefix("0/")).or_else(|| field.strip_prefix("00/"));
            step?.parse::<u64>().ok().filter(|step| *step > 0 && of.is_multiple_of(*step))
        }
    };
    if number(minute, 59).is_some() {
        if let Some(hours) = step(hour, 24) {
            return Some(hours * HOUR);
        }
        let hours: Vec<u64> = hour.split(',').map(|hour| number(hour, 23)).collect::<Option<_>>()?;
        return around(&hours, 24).map(|hours| hours * HOUR);
    }
    match (step(hour, 24), step(minute, 60)) {
        (Some(1), Some(minutes)) => Some(minutes * MINUTE),
        _ => None,
    }
}

/// The longest gap between weekdays, as `Mon,Thu`, `Mon..Fri`, `1-5`.
fn weekdays(field: &str, range: &str) -> Option<u64> {
    let mut days: Vec<u64> = Vec::new();
    for part in field.split(',') {
        match part.split_once(range) {
            Some((first, last)) => {
                let (first, mut last) = (weekday(first)?, weekday(last)?);
                if last < first {
                    last += 7;
                }
                days.extend((first..=last).map(|day| day % 7));
            }
            None => days.push(weekday(part)?),
        }
    }
    around(&days, 7).map(|days| days * DAY)
}

fn weekday(text: &str) -> Option<u64> {
    const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let text = text.to_ascii_lowercase();
    let named = DAYS.iter().position(|day| text.starts_with(day)).map(|day| day as u64);
    named.or_else(|| number(&text, 7).map(|day| day % 7))
}

/// Every month has a day up to the 28th; a later one skips months.
fn day_of_month(day: &str) -> Option<u64> {
    number(day, 28).filter(|day| *day > 0).map(|_| 31 * DAY)
}

fn number(text: &str, most: u64) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= most)
}

/// The longest way from one of these to the next, once around.
fn around(points: &[u64], circle: u64) -> Option<u64> {
    let mut points = points.to_vec();
    points.sort_unstable();
    points.dedup();
    let (first, last) = (*points.first()?, *points.last()?);
    let inner = points.windows(2).map(|pair| pair[1] - pair[0]);
    inner.chain([first + circle - last]).max()
}

/// How far back what is kept reaches; `None` if nothing is ever removed, or if it cannot be told.
///
/// `gap` is the time between two backups: restic and borg count days, weeks and months in which there is a backup, so
/// seven daily ones of a weekly schedule reach back seven weeks. `adds_up` is borg's way: what one rule keeps, the next
/// does not count. Where in doubt, the longer time is told.
pub fn reach(keep: &Keep, gap: Option<Duration>, adds_up: bool) -> Option<Duration> {
    const LONG_ENOUGH: u64 = 200 * 366 * DAY;
    let counted = [
        (keep.last, 0),
        (keep.hourly, HOUR),
        (keep.daily, DAY),
        (keep.weekly, 7 * DAY),
        (keep.monthly, 31 * DAY),
        (keep.yearly, 366 * DAY),
    ];
    let within = keep.within.map(|within| within.0.as_secs());
    if within.is_none() && counted.iter().all(|(count, _)| count.is_none()) {
        return None;
    }
    let mut reach = within.unwrap_or(0);
    for (count, bucket) in counted.iter().filter_map(|(count, bucket)| Some((u64::from((*count)?), *bucket))) {
        if count == 0 {
            continue;
        }
        let each = bucket.max(gap?.as_secs());
        let far = count.saturating_mul(each).min(LONG_ENOUGH);
        reach = if adds_up { reach.saturating_add(far) } else { reach.max(far) };
    }
    Some(Duration::from_secs(reach))
}

/// "14 days", "a day", "6 hours": whole units, as a person says it.
pub fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    match count {
        1 => format!("1 {unit}"),
        _ => format!("{count} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use labwright_model::units::Period;

    use super::*;

    #[test]
    fn gaps_of_the_usual_schedules() {
        for (text, days) in [
            ("03:15", 1.0),
            ("03:15:30", 1.0),
            ("daily", 1.0),
            ("weekly", 7.0),
            ("monthly", 31.0),
            ("annually", 366.0),
            ("15 3 * * *", 1.0),
            ("15 */6 * * *", 0.25),
            ("*/30 * * * *", 1.0 / 48.0),
            ("0 1,13 * * *", 0.5),
            ("0 2,6 * * *", 20.0 / 24.0),
            ("15 3 * * 0", 7.0),
            ("15 3 * * 1-5", 3.0),
            ("15 3 * * Mon,Thu", 4.0),
            ("15 3 1 * *", 31.0),
            ("15 3 1 6 *", 366.0),
            ("Sun *-*-* 03:15", 7.0),
            ("Sun 03:15", 7.0),
            ("Mon..Fri 03:15", 3.0),
            ("*-*-* 03:15:00", 1.0),
            ("*-*-*", 1.0),
            ("*-*-01 04:00:00", 31.0),
            ("*-06-01 04:00", 366.0),
            ("*-*-* 00/6:00", 0.25),
        ] {
            let gap = longest_gap(&Schedule(text.into())).map(|gap| gap.as_secs_f64() / DAY as f64);
            assert_eq!(gap, Some(days), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        for text in [
            "15 3 31 * *",
            "15 3 1 * 0",
            "15 3 1,15 * *",
            "15 3 * * 1#2",
            "*/7 * * * *",
            "15 */5 * * *",
            "0 3 * 1-6 *",
            "Sun *-*-1..7 03:00",
            "*-*-31 04:00",
            "*-*-* 03:15 UTC",
            "*-01,07-01 03:00",
            "2026-01-01 03:00",
            "0 1,13 * * 0",
        ] {
            assert_eq!(longest_gap(&Schedule(text.into())), None, "{text}");
        }
    }

    #[test]
    fn what_is_kept_reaches_back() {
        let days = |days: u64| Duration::from_secs(days * DAY);
        let daily = Some(days(1));
        let keep = Keep { daily: Some(7), weekly: Some(4), ..Keep::default() };
        assert_eq!(reach(&keep, daily, false), Some(days(28)));
        assert_eq!(reach(&keep, daily, true), Some(days(35)));
        assert_eq!(reach(&keep, Some(days(7)), false), Some(days(49)));
        assert_eq!(reach(&keep, None, false), None);
        assert_eq!(reach(&Keep::default(), daily, false), None);
        let within = Keep { within: Some(Period(days(10))), ..Keep::default() };
        assert_eq!(reach(&within, None, false), Some(days(10)));
        let hourly = Keep { hourly: Some(24), last: Some(3), ..Keep::default() };
        assert_eq!(reach(&hourly, daily, false), Some(days(24)));
        assert_eq!(reach(&Keep { last: Some(u32::MAX), ..Keep::default() }, daily, true), Some(days(200 * 366)));
        assert_eq!(
            (spoken(days(1)), spoken(days(14)), spoken(Duration::from_secs(7200))),
            ("1 day".into(), "14 days".into(), "2 hours".into())
        );
    }
}
