#![allow(clippy::unwrap_used)]
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    disguise::{Client, Disguise},
    tracker::{
        TrackerState, TrackerStatus,
        announce::Event,
        reply::{Answer, Retry},
        tiers::*,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Tiers on a clock that only the test moves.
struct Bench {
    tiers: Tiers,
    now: Instant,
    rng: StdRng,
}

fn urls(tiers: &[&[&str]]) -> Vec<Vec<String>> {
    tiers
        .iter()
        .map(|tier| {
            tier.iter()
                .map(|host| format!("http://{host}/announce"))
                .collect()
        })
        .collect()
}

fn answer(interval: u64, min_interval: Option<u64>) -> Answer {
    Answer {
        interval: Some(Duration::from_secs(interval)),
        min_interval: min_interval.map(Duration::from_secs),
        ..Answer::default()
    }
}

fn failure(retry: Option<Retry>) -> Failure {
    Failure {
        text: "no answer within 30 s".to_owned(),
        retry,
        silent: false,
    }
}

fn client() -> &'static Client {
    Disguise::default().client()
}

impl Bench {
    fn new(tiers: &[&[&str]]) -> Self {
        Self::of(client(), tiers)
    }

    fn of(client: &'static Client, tiers: &[&[&str]]) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Instant::now();
        Self {
            tiers: Tiers::new(client, &urls(tiers), now, &mut rng),
            now,
            rng,
        }
    }

    fn due(&mut self) -> Request {
        self.tiers.due(self.now).expect("something is due")
    }

    fn idle(&mut self) -> bool {
        self.tiers.due(self.now).is_none()
    }

    /// Answers what is due; false if nothing was.
    fn idle_but(&mut self, name: &str) -> bool {
        let Some(request) = self.tiers.due(self.now) else {
            return true;
        };
        assert_eq!(request.name, name);
        self.done(&request, Ok(&answer(86_400, Some(90))));
        false
    }

    fn done(&mut self, request: &Request, result: Result<&Answer, &Failure>) {
        self.tiers.done(request, result, self.now, &mut self.rng);
    }

    /// The time until something is due.
    fn wait(&self) -> Duration {
        self.tiers
            .next()
            .unwrap()
            .saturating_duration_since(self.now)
    }

    fn state(&self, index: usize) -> TrackerStatus {
        self.tiers.status().swap_remove(index)
    }
}

#[test]
fn starts_every_tier_once_and_announces_again_after_the_interval() {
    let mut bench = Bench::new(&[&["a"], &["b"]]);
    let (a, b) = (bench.due(), bench.due());
    assert_eq!((a.event, b.event), (Event::Started, Event::Started));
    assert_ne!(a.url, b.url);
    assert!(bench.idle(), "both are under way");
    bench.done(&a, Ok(&answer(1800, None)));
    bench.done(&b, Ok(&answer(60, None)));
    assert!(bench.idle());
    assert_eq!(bench.wait(), SHORTEST_INTERVAL, "60 s are raised");
    bench.now += SHORTEST_INTERVAL;
    let again = bench.due();
    assert_eq!((again.url, again.event), (b.url, Event::Regular));
    assert_eq!(bench.state(0).next_announce, Some(bench.now + 25 * MINUTE));
}

#[test]
fn a_failure_makes_the_next_one_current_and_a_success_the_first() {
    let mut bench = Bench::new(&[&["a", "b", "c"]]);
    let first = bench.due();
    bench.done(&first, Err(&failure(None)));
    let second = bench.due();
    assert_ne!(first.url, second.url);
    bench.done(&second, Err(&failure(None)));
    let third = bench.due();
    assert!(third.url != first.url && third.url != second.url);
    bench.done(&third, Ok(&answer(600, None)));
    bench.now += 10 * MINUTE;
    let again = bench.due();
    assert_eq!(again.url, third.url, "the one that worked");
    bench.done(&again, Err(&failure(None)));
    assert_eq!(bench.due().url, first.url, "its pause is over");
}

#[test]
fn pauses_grow_when_all_fail() {
    let mut bench = Bench::new(&[&["a"]]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let request = bench.due();
        bench.done(&request, Err(&failure(None)));
        let pause = bench.wait();
        pauses.push(pause);
        bench.now += pause - SECOND;
        assert!(bench.idle());
        bench.now += SECOND;
    }
    assert_eq!(pauses[0], Duration::from_secs(20));
    for (pause, minutes) in pauses[1..].iter().zip([5, 15, 30, 60, 120, 120, 120]) {
        let shortest = minutes * MINUTE;
        assert!((shortest..=shortest + MINUTE).contains(pause), "{pause:?}");
    }
    assert_eq!(bench.state(0).state, TrackerState::Failing);
    let request = bench.due();
    assert_eq!(request.event, Event::Started, "it never heard of us");
    bench.done(&request, Ok(&answer(600, None)));
    assert_eq!(bench.state(0).error, None);
}

#[test]
fn asks_again_when_the_tracker_allows_it_or_never() {
    let mut bench = Bench::new(&[&["a"]]);
    let request = bench.due();
    bench.done(&request, Err(&failure(Some(Retry::After(7 * MINUTE)))));
    assert_eq!(bench.wait(), 7 * MINUTE);
    bench.now += 7 * MINUTE;
    let request = bench.due();
    bench.done(&request, Err(&failure(Some(Retry::Never))));
    assert_eq!(bench.tiers.next(), None);
    bench.now += 9_000 * MINUTE;
    assert!(bench.idle());
    assert_eq!(bench.state(0).next_announce, None);
}

#[test]
fn extra_announces_keep_the_min_interval_and_their_budget() {
    let mut bench = Bench::new(&[&["a"]]);
    bench.tiers.extra(bench.now);
    let request = bench.due();
    bench.tiers.extra(bench.now);
    assert!(bench.idle());
    let long = answer(36_000, Some(180));
    bench.done(&request, Ok(&long));
    bench.now += 179 * SECOND;
    bench.tiers.extra(bench.now);
    assert!(bench.idle(), "within the min interval");
    bench.now += SECOND;
    bench.tiers.extra(bench.now);
    let extra = bench.due();
    assert_eq!(extra.event, Event::Regular);
    bench.done(&extra, Ok(&answer(36_000, Some(1))));

    // One is used, nine are left of the hour's; at most one per minute.
    let mut sent = 0;
    for _ in 0..50 * 60 {
        bench.now += SECOND;
        bench.tiers.extra(bench.now);
        if let Some(request) = bench.tiers.due(bench.now) {
            sent += 1;
            bench.done(&request, Ok(&answer(36_000, Some(1))));
        }
    }
    assert_eq!(sent, EXTRAS - 1);
    bench.now += EXTRAS_WINDOW;
    bench.tiers.extra(bench.now);
    assert!(!bench.idle());
}

#[test]
fn a_failing_tracker_gets_no_extra_announces() {
    let mut bench = Bench::new(&[&["a"]]);
    for _ in 0..2 {
        let request = bench.due();
        bench.done(&request, Err(&failure(None)));
        bench.now += bench.wait();
    }
    let request = bench.due();
    bench.done(&request, Err(&failure(None)));
    bench.now += 2 * MINUTE;
    bench.tiers.extra(bench.now);
    assert!(bench.idle());
}

#[test]
fn sends_stopped_once_to_trackers_that_know_us() {
    let mut bench = Bench::new(&[&["a"], &["b"], &["c"]]);
    let (first, second, _under_way) = (bench.due(), bench.due(), bench.due());
    bench.done(
        &first,
        Ok(&Answer {
            tracker_id: Some(b"id".to_vec()),
            ..answer(600, None)
        }),
    );
    bench.done(&second, Err(&failure(None)));
    let farewell = bench.tiers.stop();
    assert_eq!(farewell.len(), 1);
    assert_eq!(farewell[0].event, Event::Stopped);
    assert_eq!(farewell[0].url, first.url);
    assert_eq!(farewell[0].tracker_id.as_deref(), Some(&b"id"[..]));
    assert_eq!(bench.tiers.stop(), []);
}

#[test]
fn sends_the_tracker_id_back_until_another_comes() {
    let mut bench = Bench::new(&[&["a"]]);
    for (sent, repeated) in [(Some("x"), "x"), (None, "x"), (Some("y"), "y")] {
        let request = bench.due();
        let reply = Answer {
            tracker_id: sent.map(|id| id.as_bytes().to_vec()),
            ..answer(300, None)
        };
        bench.done(&request, Ok(&reply));
        bench.now += SHORTEST_INTERVAL;
        let next = bench.tiers.stop();
        assert_eq!(next[0].tracker_id.as_deref(), Some(repeated.as_bytes()));
    }
}

#[test]
fn replacing_keeps_what_stays_and_leaves_what_goes() {
    let mut bench = Bench::new(&[&["a"], &["b"]]);
    let (first, second) = (bench.due(), bench.due());
    bench.done(&first, Ok(&answer(600, None)));
    bench.done(&second, Ok(&answer(600, None)));
    let farewell = bench
        .tiers
        .replace(&urls(&[&["b", "new"]]), bench.now, &mut bench.rng);
    assert_eq!(farewell.len(), 1);
    assert_eq!(farewell[0].name, "http://a/announce");
    let status = bench.tiers.status();
    assert_eq!(status[0].state, TrackerState::Working);
    assert_eq!(status[1].state, TrackerState::Waiting);
    // A result of an earlier generation changes nothing.
    bench.done(&second, Err(&failure(None)));
    assert_eq!(bench.state(0).state, TrackerState::Working);
}

#[test]
fn reports_unsupported_urls() {
    let long = format!("http://{}/announce", "x".repeat(MAX_URL));
    let names = [
        "udp://t/announce",
        "wss://t/announce",
        "nonsense",
        "http://",
        &long,
        "http://good/announce",
        "http://good/announce",
    ];
    let tiers = vec![names.map(str::to_owned).to_vec(), vec![]];
    let mut rng = StdRng::seed_from_u64(1);
    let now = Instant::now();
    let mut tiers = Tiers::new(client(), &tiers, now, &mut rng);
    let status = tiers.status();
    assert_eq!(status.len(), 6, "a doubled one counts once");
    for unsupported in &status[..5] {
        assert_eq!(unsupported.state, TrackerState::Unsupported);
        assert!(unsupported.error.as_ref().unwrap().ends_with("not used"));
    }
    assert_eq!(tiers.due(now).unwrap().name, "http://good/announce");
    let many = vec![(0..2_000).map(|n| format!("http://t{n}/")).collect()];
    assert_eq!(
        Tiers::new(client(), &many, now, &mut rng).status().len(),
        MAX_TRACKERS
    );
}

#[test]
fn a_user_may_ask_also_those_that_failed_but_not_without_end() {
    let mut bench = Bench::new(&[&["a"], &["b"]]);
    let (first, second) = (bench.due(), bench.due());
    bench.done(&first, Ok(&answer(1800, Some(90))));
    bench.done(&second, Err(&failure(None)));
    bench.now += Duration::from_secs(20);
    let again = bench.due();
    bench.done(&again, Err(&failure(None)));
    assert_eq!(bench.tiers.by_hand(None, bench.now), 0, "just asked");
    bench.now += MINUTE;
    assert_eq!(bench.tiers.by_hand(None, bench.now), 1, "one wants 90 s");
    assert_eq!(bench.due().name, second.name);
    bench.now += MINUTE;
    let name = first.name.clone();
    assert_eq!(bench.tiers.by_hand(Some("http://no/"), bench.now), 0);
    assert_eq!(bench.tiers.by_hand(Some(&name), bench.now), 1);
    let mut asked = 1;
    for _ in 0..30 {
        if bench.tiers.by_hand(Some(&name), bench.now) == 1 && !bench.idle_but(&name) {
            asked += 1;
        }
        bench.now += 2 * MINUTE;
    }
    assert!(asked <= EXTRAS + 2, "{asked}");
}

#[test]
fn qbittorrents_pauses_grow_by_squares() {
    let mut bench = Bench::of(Disguise::Qbittorrent452.client(), &[&["a"]]);
    let mut pauses = Vec::new();
    for _ in 0..20 {
        let request = bench.due();
        bench.done(&request, Err(&failure(None)));
        pauses.push(bench.wait().as_secs());
        bench.now += bench.wait();
    }
    assert_eq!(pauses[..4], [17, 55, 117, 205]);
    assert_eq!(pauses[19], 3_600);
    let request = bench.due();
    bench.done(&request, Ok(&Answer::default()));
    assert_eq!(
        bench.wait(),
        30 * MINUTE,
        "a tracker that names no interval"
    );
}

proptest! {
    /// For any inputs: a tier has at most one request under way, no tracker is asked more often than allowed, and an
    /// announce is always scheduled while a tracker can be asked.
    #[test]
    fn keeps_its_manners(seed in any::<u64>(), steps in prop::collection::vec((0u8..6, 1u64..400), 1..200)) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut now = Instant::now();
        let mut tiers = Tiers::new(client(), &urls(&[&["a", "b", "c"], &["d"], &["e", "f"]]), now, &mut rng);
        let mut open: Vec<Request> = Vec::new();
        let mut answered: std::collections::HashMap<String, Instant> = Default::default();
        for (kind, amount) in steps {
            now += Duration::from_secs(amount);
            match kind {
                0 => tiers.extra(now),
                1 | 2 => while let Some(request) = tiers.due(now) {
                    prop_assert!(open.len() < 3);
                    if let Some(last) = answered.get(&request.name) {
                        prop_assert!(now - *last >= EXTRA_DISTANCE);
                    }
                    open.push(request);
                },
                _ => if let Some(request) = open.pop() {
                    let good = kind == 3;
                    if good { answered.insert(request.name.clone(), now); } else { answered.remove(&request.name); }
                    let reply = answer(amount, Some(amount / 4));
                    let failed = failure((amount % 7 == 0).then_some(Retry::After(MINUTE)));
                    tiers.done(&request, if good { Ok(&reply) } else { Err(&failed) }, now, &mut rng);
                },
            }
            prop_assert_eq!(tiers.next().is_none(), open.len() == 3);
        }
    }
}
