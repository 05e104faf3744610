//! Expressions, refusals and moves of the clock, each against times that were worked out by hand.

use super::*;

fn at(text: &str) -> Instant {
    Instant::from_millis(text.parse::<Timestamp>().unwrap().as_millisecond())
}

/// The next instants after `start`, as the zone's wall clock shows them.
fn times(expression: &str, zone: &str, start: &str, count: usize) -> Vec<String> {
    let (schedule, zone) = (Schedule::parse(expression).unwrap(), Zone::parse(zone).unwrap());
    let next = |instant: &Instant| schedule.next_after(*instant, &zone);
    std::iter::successors(next(&at(start)), next).take(count).map(|instant| zone.show(instant)).collect()
}

fn days(expression: &str, start: &str, count: usize) -> Vec<String> {
    times(expression, "UTC", start, count).iter().map(|time| time[..10].to_owned()).collect()
}

#[test]
fn sunday_is_0_and_7_and_sun() {
    let sundays = ["2026-03-01", "2026-03-08", "2026-03-15"];
    for expression in ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "0 0 * * SUN", "0 0 * * 0,7", "0 0 * * 7-7", "@weekly"] {
        assert_eq!(days(expression, "2026-02-26T00:00:00Z", 3), sundays, "{expression}");
    }
    assert_eq!(days("0 0 * * 5-7", "2026-02-26T12:00:00Z", 4), ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-06"]);
    assert_eq!(
        days("0 0 * * Mon-wed,fri", "2026-03-01T00:00:00Z", 5)[..4],
        ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-06"]
    );
}

#[test]
fn of_two_restricted_day_fields_either_will_do() {
    // The 13th, and every Friday.
    let either = ["2026-02-06", "2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06", "2026-03-13"];
    assert_eq!(days("0 0 13 * fri", "2026-02-01T00:00:00Z", 6), either);
    assert_eq!(days("0 0 30 2 mon", "2026-02-01T00:00:00Z", 3), ["2026-02-02", "2026-02-09", "2026-02-16"]);
    // All days of the week, spelled out, are a restriction that every day meets.
    assert_eq!(days("0 0 13 * 0-6", "2026-02-01T00:00:00Z", 2), ["2026-02-02", "2026-02-03"]);
}

#[test]
fn a_day_field_that_begins_with_a_star_is_none_of_two_restricted_ones() {
    // Odd days that are Mondays, as cron's own program has it.
    assert_eq!(days("0 0 */2 * mon", "2026-03-01T00:00:00Z", 3), ["2026-03-09", "2026-03-23", "2026-04-13"]);
    assert_eq!(days("0 0 13 * */2", "2026-03-01T00:00:00Z", 2), ["2026-06-13", "2026-08-13"]);
}

#[test]
fn steps_lists_ranges_and_names_are_read() {
    let times = |expression| times(expression, "UTC", "2026-12-31T22:07:30Z", 4);
    assert_eq!(times("*/20 * * * *")[..2], ["2026-12-31T22:20:00+00:00", "2026-12-31T22:40:00+00:00"]);
    assert_eq!(
        times("5-59/25,7 23 * * *")[..3],
        ["2026-12-31T23:05:00+00:00", "2026-12-31T23:07:00+00:00", "2026-12-31T23:30:00+00:00"]
    );
    assert_eq!(times("8 22 31 DEC *")[..2], ["2026-12-31T22:08:00+00:00", "2027-12-31T22:08:00+00:00"]);
    assert_eq!(times("\t0  0 1 jan-Mar/2 *")[..2], ["2027-01-01T00:00:00+00:00", "2027-03-01T00:00:00+00:00"]);
    assert_eq!(times("@hourly")[..2], ["2026-12-31T23:00:00+00:00", "2027-01-01T00:00:00+00:00"]);
    assert_eq!(times("@monthly")[1], "2027-02-01T00:00:00+00:00");
    for (name, fields) in
        [("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *")]
    {
        assert_eq!(times(name), times(fields), "{name}");
    }
}

#[test]
fn what_is_due_at_the_very_instant_is_not_after_it() {
    let schedule = Schedule::parse("0 3 * * *").unwrap();
    let next = |start: &str| schedule.next_after(at(start), &Zone::utc()).unwrap();
    assert_eq!(next("2026-03-01T02:59:59.999Z"), at("2026-03-01T03:00:00Z"));
    assert_eq!(next("2026-03-01T03:00:00Z"), at("2026-03-02T03:00:00Z"));
    assert_eq!(next("2026-03-01T03:00:00.001Z"), at("2026-03-02T03:00:00Z"));
}

#[test]
fn a_leap_day_is_waited_for_over_the_year_that_has_none() {
    assert_eq!(days("0 0 29 2 *", "2096-03-01T00:00:00Z", 1), Vec::<String>::new(), "the calendar ends with 2100");
    assert_eq!(days("0 0 29 2 *", "2088-03-01T00:00:00Z", 2), ["2092-02-29", "2096-02-29"]);
    // A Sunday that is a leap day: 2032, 2060.
    assert_eq!(days("0 0 29 2 */7", "2026-01-01T00:00:00Z", 2), ["2032-02-29", "2060-02-29"]);
}

#[test]
fn a_time_that_the_clock_skips_comes_true_once_right_after_it() {
    // Berlin goes from 02:00 to 03:00 on 29 March 2026.
    let berlin = |expression, count| times(expression, "Europe/Berlin", "2026-03-28T12:00:00Z", count);
    assert_eq!(berlin("30 2 * * *", 2), ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
    assert_eq!(berlin("*/15 2 * * *", 2), ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]);
    // What is due then anyway does not come true twice.
    assert_eq!(berlin("0 2,3 * * *", 2), ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]);
    assert_eq!(berlin("59 2 29 3 *", 1), ["2026-03-29T03:00:00+02:00"]);
    // New York goes from 02:00 to 03:00 on 8 March 2026, Lord Howe from 02:00 to 02:30 on 4 October.
    let new_york = times("30 2 8 3 *", "America/New_York", "2026-03-01T00:00:00Z", 2);
    assert_eq!(new_york, ["2026-03-08T03:00:00-04:00", "2027-03-08T02:30:00-05:00"]);
    let lord_howe = times("15,45 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 3);
    assert_eq!(lord_howe, ["2026-10-04T02:30:00+11:00", "2026-10-04T02:45:00+11:00", "2026-10-05T02:15:00+11:00"]);
    // Samoa had no 30 December 2011.
    let apia = times("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3);
    assert_eq!(apia, ["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"]);
}

#[test]
fn a_time_that_the_clock_shows_twice_comes_true_once() {
    // Berlin goes from 03:00 back to 02:00 on 25 October 2026.
    let berlin = |expression, count| times(expression, "Europe/Berlin", "2026-10-24T12:00:00Z", count);
    assert_eq!(berlin("30 2 * * *", 2), ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]);
    let every_half_hour = times("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", 4);
    let wanted =
        ["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00", "2026-10-25T03:30:00+01:00"];
    assert_eq!(every_half_hour, wanted);
    // New York goes from 02:00 back to 01:00 on 1 November 2026, Lord Howe from 02:00 to 01:30 on 5 April.
    let new_york = times("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2);
    assert_eq!(new_york, ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]);
    let lord_howe = times("*/20 1 * * *", "Australia/Lord_Howe", "2026-04-04T13:59:00Z", 4);
    let wanted =
        ["2026-04-05T01:00:00+11:00", "2026-04-05T01:20:00+11:00", "2026-04-05T01:40:00+11:00", "2026-04-06T01:00:00+10:30"];
    assert_eq!(lord_howe, wanted);
}

#[test]
fn whoever_asks_while_the_clock_shows_an_hour_again_is_told_of_the_time_after_it() {
    let (schedule, zone) = (Schedule::parse("*/10 * * * *").unwrap(), Zone::parse("Europe/Berlin").unwrap());
    // 02:15, for the second time.
    assert_eq!(zone.show(schedule.next_after(at("2026-10-25T01:15:00Z"), &zone).unwrap()), "2026-10-25T03:00:00+01:00");
}

#[test]
fn a_zone_that_never_moves_its_clock_has_every_time_once_a_day() {
    let tokyo = times("30 2 * * *", "Asia/Tokyo", "2026-03-28T12:00:00Z", 3);
    assert_eq!(tokyo, ["2026-03-29T02:30:00+09:00", "2026-03-30T02:30:00+09:00", "2026-03-31T02:30:00+09:00"]);
}

fn error(text: &str) -> String {
    Schedule::parse(text).unwrap_err().to_string()
}

#[test]
fn an_error_names_the_field_its_value_and_what_to_write() {
    let fields = "write five: minute, hour, day of month, month, day of week, such as \"0 3 * * *\"";
    assert_eq!(error("0 3 * *"), format!("the schedule \"0 3 * *\" has 4 fields; {fields}"));
    assert_eq!(error("0 0 3 * * *"), format!("the schedule \"0 0 3 * * *\" has 6 fields; {fields}"));
    assert_eq!(error(""), format!("the schedule \"\" has 0 fields; {fields}"));
    assert_eq!(error("60 3 * * *"), "minute \"60\": 60 is out of range; use 0 to 59");
    assert_eq!(error("0 1,24 * * *"), "hour \"1,24\": 24 is out of range; use 0 to 23");
    assert_eq!(error("0 3 0 * *"), "day of month \"0\": 0 is out of range; use 1 to 31");
    assert_eq!(error("0 3 * 13 *"), "month \"13\": 13 is out of range; use 1 to 12, or jan to dec");
    let days = "0 to 7, where 0 and 7 are Sunday, or sun to sat";
    assert_eq!(error("0 3 * * 8"), format!("day of week \"8\": 8 is out of range; use {days}"));
    let between = "and between them only `,`, `-` and `/`";
    assert_eq!(error("0 3 * * funday"), format!("day of week \"funday\": \"funday\" is no number; use {days}, {between}"));
    assert_eq!(error("5/15 * * * *"), "minute \"5/15\": a step needs a range or `*` before it; write 5-59/15");
    assert_eq!(error("0 22-6 * * *"), "hour \"22-6\": the range 22-6 ends before it begins; write 22-23,0-6");
    let end = "the range fri-sun ends before it begins; Sunday at the end of a range is 7";
    assert_eq!(error("0 3 * * fri-sun"), format!("day of week \"fri-sun\": {end}"));
    assert_eq!(error("*/0 * * * *"), "minute \"*/0\": \"0\" is no step; use a number from 1 to 60");
    assert_eq!(error("*/90 * * * *"), "minute \"*/90\": \"90\" is no step; use a number from 1 to 60");
    let first = "crontab(5) and cron disagree on a `*` that does not come first; write it first";
    assert_eq!(error("0 0 5,*/10 * mon"), format!("day of month \"5,*/10\": {first}"));
    assert!(error("@reboot").starts_with("\"@reboot\" is no time: "));
    assert!(error("@fortnightly").starts_with("crontab(5) has no \"@fortnightly\"; write @hourly, "));
    assert_eq!(error(&"1,".repeat(600)), "the schedule is 1200 bytes long; write at most 1024");
}

#[test]
fn what_other_programs_take_for_a_schedule_is_refused() {
    for bad in [
        "0 3 ? * *",
        "0 3 L * *",
        "0 3 15W * *",
        "0 3 * * 5#2",
        "0~59 3 * * *",
        "H 3 * * *",
        "+5 3 * * *",
        "-5 3 * * *",
        "0 3 * * 1-",
        ", 3 * * *",
        "0, 3 * * *",
        "*5 3 * * *",
        "** 3 * * *",
        "*-5 3 * * *",
        "1-2-3 3 * * *",
        "*/2/2 3 * * *",
        "*/ 3 * * *",
        "*/+2 3 * * *",
        "0 3 * * monday",
        "@daily 3",
        "0 3 * *  *  *",
    ] {
        assert!(Schedule::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_can_never_come_true_is_refused() {
    for never in ["0 0 30 2 *", "0 0 30-31 feb *", "0 0 31 2,4,6,9,11 *", "0 0 31 apr */2"] {
        let text = "no month that it names has such a day; change day of month or month";
        assert_eq!(error(never), format!("the schedule {never:?} never comes true: {text}"));
    }
    for rarely in ["0 0 29 2 *", "0 0 31 4,5 *", "0 0 30 2 1"] {
        assert!(Schedule::parse(rarely).is_ok(), "{rarely}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_refused_or_comes_true_later(text in "[0-9*/,@a-z -]{0,12}( [0-9*/,a-f-]{1,4}){0,4}", start in 0..4_000_000_000_000_i64) {
        if let Ok(schedule) = Schedule::parse(&text) {
            let start = Instant::from_millis(start);
            for zone in ["UTC", "Europe/Berlin"] {
                let zone = Zone::parse(zone).unwrap();
                assert!(schedule.next_after(start, &zone).is_none_or(|next| next > start), "{text}");
            }
        }
    }
}
