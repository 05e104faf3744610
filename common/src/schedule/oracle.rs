//! The same expressions, read and reckoned by `croner`, which follows Vixie's cron and shares no code with `cron`.
//!
//! Where the two mean different things, the expressions here keep away, and `tests.rs` has literal times:
//! - At a clock that is moved, croner takes an expression with one minute and one hour as this code takes each, and lets all
//!   others follow the time that really passes. So what is compared over such a move has one minute and one hour.
//! - A day field such as `*/2` is a restriction to croner, and is none to cron.

use croner::Cron;
use jiff::Zoned;
use proptest::prelude::*;

use super::*;

fn joined(parts: Vec<String>) -> String {
    parts.join(",")
}

/// One number of a field, or a range, or a range with a step.
fn part(low: u32, high: u32) -> impl Strategy<Value = String> {
    let range = (low..=high, low..=high).prop_map(|(one, other)| (one.min(other), one.max(other)));
    prop_oneof![
        3 => (low..=high).prop_map(|number| number.to_string()),
        2 => range.clone().prop_map(|(first, last)| format!("{first}-{last}")),
        1 => (range, 1..=(high - low)).prop_map(|((first, last), step)| format!("{first}-{last}/{step}")),
    ]
}

fn list(low: u32, high: u32) -> impl Strategy<Value = String> {
    proptest::collection::vec(part(low, high), 1..4).prop_map(joined)
}

fn clock_field(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (1..=(high - low)).prop_map(|step| format!("*/{step}")),
        3 => list(low, high),
    ]
}

fn month() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just("*".to_owned()), 2 => list(1, 12), 1 => Just("jan,Mar,MAY".to_owned()), 1 => Just("*/5".to_owned())]
}

fn days() -> impl Strategy<Value = String> {
    let day_of_week = prop_oneof![3 => list(0, 7), 1 => Just("mon-FRI".to_owned()), 1 => Just("Sun,7".to_owned())];
    prop_oneof![
        2 => month().prop_map(|month| format!("* {month} *")),
        2 => (list(1, 31), month()).prop_map(|(day, month)| format!("{day} {month} *")),
        2 => (month(), day_of_week.clone()).prop_map(|(month, day)| format!("* {month} {day}")),
        3 => (list(1, 31), month(), day_of_week).prop_map(|(of_month, month, of_week)| format!("{of_month} {month} {of_week}")),
    ]
}

fn any_expression() -> impl Strategy<Value = String> {
    (clock_field(0, 59), clock_field(0, 23), days()).prop_map(|(minute, hour, days)| format!("{minute} {hour} {days}"))
}

fn one_time_of_day() -> impl Strategy<Value = String> {
    (0..60, 0..24, days()).prop_map(|(minute, hour, days)| format!("{minute} {hour} {days}"))
}

/// Some second between 1990 and 2060, cut to a millisecond that is not round.
fn start() -> impl Strategy<Value = Instant> {
    (631_152_000_i64..2_840_140_800, 0..1000_i64).prop_map(|(second, millis)| Instant::from_millis(second * 1000 + millis))
}

/// What croner says; `None` where it finds nothing within its years, or gives up.
fn by_croner(cron: &Cron, start: Instant, zone: &Zone, count: usize) -> Vec<Instant> {
    let from = Timestamp::from_millisecond(start.millis()).unwrap().to_zoned(zone.time_zone().clone());
    let next = |from: &Zoned| cron.find_next_occurrence(from, false).ok();
    std::iter::successors(next(&from), next)
        .map(|next| Instant::from_millis(next.timestamp().as_millisecond()))
        .take(count)
        .collect()
}

fn by_us(schedule: &Schedule, start: Instant, zone: &Zone, count: usize) -> Vec<Instant> {
    let next = |from: &Instant| schedule.next_after(*from, zone);
    std::iter::successors(next(&start), next).take(count).collect()
}

/// Both agree on the next `count` times, and on whether there is any.
fn compare(expression: &str, start: Instant, zone: &str, count: usize) {
    let zone = Zone::parse(zone).unwrap();
    let cron: Cron = expression.parse().unwrap();
    match Schedule::parse(expression) {
        Ok(schedule) => {
            assert_eq!(by_us(&schedule, start, &zone, count), by_croner(&cron, start, &zone, count), "{expression} in {zone}")
        }
        Err(ScheduleError::Never(_)) => assert_eq!(by_croner(&cron, start, &zone, 1), [], "{expression} in {zone}"),
        Err(error) => panic!("{expression}: {error}"),
    }
}

/// Both agree on the next times, as far as they lie before `until`.
fn compare_until(expression: &str, start: Instant, zone: &str, until: Option<Instant>) {
    let zone = Zone::parse(zone).unwrap();
    let Ok(schedule) = Schedule::parse(expression) else { return };
    let before =
        |times: Vec<Instant>| times.into_iter().take_while(|time| until.is_none_or(|until| *time < until)).collect::<Vec<_>>();
    let cron: Cron = expression.parse().unwrap();
    let (ours, theirs) = (by_us(&schedule, start, &zone, 8), by_croner(&cron, start, &zone, 8));
    assert_eq!(before(ours), before(theirs), "{expression} in {zone}");
}

/// Zones with an hour, half an hour, a day and nothing that is moved; east and west, north and south.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Tokyo",
    "America/St_Johns",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "UTC",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_expression_means_the_same_where_the_clock_is_never_moved(expression in any_expression(), start in start()) {
        for zone in ["UTC", "Etc/GMT+9", "Etc/GMT-14"] {
            compare(&expression, start, zone, 8);
        }
    }

    #[test]
    fn any_expression_means_the_same_in_every_zone_until_its_clock_is_moved(expression in any_expression(), start in start()) {
        for name in ZONES {
            let (zone, day) = (Zone::parse(name).unwrap(), 24 * 60 * 60 * 1000);
            let yesterday = Timestamp::from_millisecond(start.plus_millis(-day).millis()).unwrap();
            let moved = zone.time_zone().following(yesterday).next().map(|moved| moved.timestamp().as_millisecond());
            if moved.is_none_or(|moved| moved > start.millis()) {
                compare_until(&expression, start, name, moved.map(Instant::from_millis));
            }
        }
    }

    #[test]
    fn a_time_of_day_means_the_same_in_every_zone(expression in one_time_of_day(), start in start()) {
        for zone in ZONES {
            compare(&expression, start, zone, 8);
        }
    }

    #[test]
    fn a_daily_time_means_the_same_around_every_move_of_a_clock(minute in 0..60, hour in 0..5, place in 0..200_usize) {
        for name in ZONES {
            let zone = Zone::parse(name).unwrap();
            let since = Timestamp::from_second(631_152_000).unwrap();
            let Some(moved) = zone.time_zone().following(since).nth(place % 60) else { continue };
            let start = Instant::from_millis(moved.timestamp().as_millisecond()).plus_millis(-36 * 60 * 60 * 1000);
            compare(&format!("{minute} {hour} * * *"), start, name, 4);
        }
    }
}
