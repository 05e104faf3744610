//! Whatever happens in whatever order, the ledger's invariants hold: the turn is exactly that of the head of each lane which is
//! free and not held, no two runs of a lane run, and a lane's runs start in its order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ledger::Sequel;

#[derive(Debug, Clone)]
enum Act {
    Admit { lane: u8, sha: bool, on_new: u8 },
    Claim(u8),
    Finish { which: u8, sequel: u8 },
    Cancel(u8),
    Hold(u8),
    Release(u8),
    Rerun(u8),
    Wait(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let lane = 0..3_u8;
    prop_oneof![
        4 => (lane.clone(), any::<bool>(), 0..3_u8).prop_map(|(lane, sha, on_new)| Act::Admit { lane, sha, on_new }),
        4 => any::<u8>().prop_map(Act::Claim),
        4 => (any::<u8>(), 0..4_u8).prop_map(|(which, sequel)| Act::Finish { which, sequel }),
        1 => any::<u8>().prop_map(Act::Cancel),
        1 => lane.clone().prop_map(Act::Hold),
        2 => lane.prop_map(Act::Release),
        1 => any::<u8>().prop_map(Act::Rerun),
        1 => any::<u8>().prop_map(Act::Wait),
    ]
}

/// A row as the schema has it, which is more than what the trait shows.
#[derive(Debug)]
struct Row {
    id: i64,
    lane: String,
    state: String,
    turn: bool,
    place: i64,
    not_before: Option<i64>,
}

fn rows_of(ledger: &SqliteLedger) -> Vec<Row> {
    let sql = "SELECT id, lane, state, turn, coalesce(place, id), not_before FROM run ORDER BY id";
    let read = |row: &rusqlite::Row<'_>| {
        let (id, lane, state) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Row { id, lane, state, turn: row.get(3)?, place: row.get(4)?, not_before: row.get(5)? })
    };
    ledger.all(sql, [], read).unwrap()
}

fn picked(rows: &[Row], which: u8, state: impl Fn(&Row) -> bool) -> Option<RunId> {
    let fitting: Vec<&Row> = rows.iter().filter(|row| state(row)).collect();
    let index = usize::from(which).checked_rem(fitting.len())?;
    Some(RunId::new(fitting[index].id))
}

fn lane_name(lane: u8) -> String {
    format!("job{lane} refs/heads/master")
}

fn perform(fixture: &mut Fixture, act: &Act, now: &mut Instant) {
    let rows = rows_of(&fixture.ledger);
    let queued = |row: &Row| row.state == "queued";
    match act {
        Act::Admit { lane, sha, on_new } => {
            let sha = if *sha { SHA } else { OTHER_SHA };
            let on_new = OnNew::ALL[usize::from(*on_new)];
            fixture.admit(request(&format!("job{lane}"), push("master", sha), on_new));
        }
        Act::Claim(which) => {
            let Some(run) = picked(&rows, *which, queued) else { return };
            let row = rows.iter().find(|row| row.id == run.number()).unwrap();
            let may = row.turn && row.not_before.is_none_or(|at| at <= now.millis());
            let claimed = fixture.ledger.claim(run, *now).unwrap().is_some();
            assert_eq!(claimed, may, "{row:?}");
            let is_before = |other: &&Row| queued(other) && other.lane == row.lane && other.place < row.place;
            assert!(!claimed || !rows.iter().any(|other| is_before(&other)), "{row:?} went before another");
        }
        Act::Finish { which, sequel } => {
            let Some(run) = picked(&rows, *which, |row| row.state == "running") else { return };
            let lane = fixture.ledger.run(run).unwrap().unwrap().lane;
            let newest = fixture.ledger.newest_in(&lane).unwrap();
            let sequel = match sequel {
                0 => Sequel::None,
                1 => Sequel::Retry { not_before: None, newest },
                2 => Sequel::Retry { not_before: Some(now.plus_millis(100)), newest },
                _ => Sequel::Hold("it died".to_owned()),
            };
            let outcome = Outcome::Failed("x".to_owned());
            fixture.ledger.finish(run, &Finish { sequel, ..Finish::plain(&outcome) }, *now).unwrap();
        }
        Act::Cancel(which) => {
            let Some(run) = picked(&rows, *which, queued) else { return };
            assert!(fixture.ledger.cancel(run, "cancelled by ada", *now).unwrap());
        }
        Act::Hold(lane) => drop(fixture.ledger.hold(&lane_name(*lane), None, "ada", "x", *now).unwrap()),
        Act::Release(lane) => drop(fixture.ledger.release(&lane_name(*lane)).unwrap()),
        Act::Rerun(which) => {
            let Some(run) = picked(&rows, *which, |row| !["queued", "running"].contains(&row.state.as_str())) else { return };
            let known = fixture.ledger.run(run).unwrap().unwrap();
            let again = request(known.job.as_str(), known.event, OnNew::ReplaceQueued);
            fixture.ledger.rerun(run, &again, "ada", false, *now).unwrap();
        }
        Act::Wait(some) => *now = now.plus_millis(i64::from(*some)),
    }
}

/// What must hold after every act.
fn check(ledger: &SqliteLedger) {
    let rows = rows_of(ledger);
    let held: Vec<String> = ledger.holds().unwrap().into_iter().map(|hold| hold.lane).collect();
    let mut lanes: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| lanes.entry(&row.lane).or_default().push(row));
    for (lane, rows) in lanes {
        let running = rows.iter().filter(|row| row.state == "running").count();
        assert!(running <= 1, "{rows:#?}");
        let queued = rows.iter().filter(|row| row.state == "queued");
        let head = queued.min_by_key(|row| (row.place, row.id)).filter(|_| running == 0 && !held.iter().any(|held| held == lane));
        let turn: Vec<i64> = rows.iter().filter(|row| row.turn).map(|row| row.id).collect();
        assert_eq!(turn, head.iter().map(|row| row.id).collect::<Vec<_>>(), "{lane}, held: {held:?}\n{rows:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_turn_is_the_heads_and_no_lane_overlaps(acts in prop::collection::vec(act(), 1..60)) {
        let mut fixture = fixture();
        // Without the disk's patience there are more cases.
        fixture.ledger.connection.pragma_update(None, "synchronous", "off").unwrap();
        let mut now = NOW;
        for act in &acts {
            perform(&mut fixture, act, &mut now);
            check(&fixture.ledger);
        }
    }
}
