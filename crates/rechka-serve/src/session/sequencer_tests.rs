use super::*;
use bytes::Bytes;
use proptest::prelude::*;

const PARTITIONS: u32 = 2;

struct Bench {
    sequencer: Sequencer,
    catalog: Arc<Catalog>,
    now: Instant,
    ends: Vec<Offset>,
}

impl Bench {
    fn new() -> Self {
        let catalog = Arc::new(Catalog::new(PARTITIONS, 100));
        let recovered = Recovered {
            open: HashMap::new(),
            ended: Vec::new(),
            ends: vec![0; PARTITIONS as usize],
            sessions_from: 0,
        };
        let now = Instant::now();
        Self {
            sequencer: Sequencer::new("ours", recovered, 2, Duration::from_secs(60), catalog.clone(), now),
            catalog,
            now,
            ends: vec![0; PARTITIONS as usize],
        }
    }

    /// One turn, which becomes durable or fails.
    fn turn(&mut self, work: impl FnOnce(&mut Sequencer, &mut Turn), durable: bool) -> usize {
        let mut turn = Turn::new(self.now, 7);
        work(&mut self.sequencer, &mut turn);
        let (group, end) = turn.split();
        let (appends, counts) = group.finish().unwrap();
        if durable {
            let bases: Vec<Offset> = counts
                .iter()
                .map(|(partition, _)| self.ends[*partition as usize])
                .collect();
            for (partition, records) in &counts {
                self.ends[*partition as usize] += records;
            }
            self.sequencer.committed(end, &counts, &bases);
        } else {
            self.sequencer
                .failed(end, &LogError::Storage("the disk is full".into()));
        }
        appends.iter().map(|append| append.batch.len()).sum()
    }

    fn open(&mut self, name: &str) -> Result<Opened, Refusal> {
        let (reply, mut answer) = oneshot::channel();
        self.turn(|sequencer, turn| sequencer.open(&hello(name), reply, turn), true);
        answer.try_recv().unwrap()
    }

    fn audio(&mut self, opened: &Opened, first_frame: u64, frames: usize, durable: bool) -> usize {
        let message = AudioMessage {
            first_frame,
            samples: Bytes::from(vec![1; 2 * frames]),
        };
        let (session, connection) = (opened.session.clone(), opened.connection);
        self.turn(
            |sequencer, turn| sequencer.audio(&session, connection, &message, turn),
            durable,
        )
    }
}

fn hello(name: &str) -> Hello {
    Hello::parse(&format!(
        r#"{{"encoding":"pcm_s16le","rate":1000,"channels":1,"session":"{name}"}}"#
    ))
    .unwrap()
}

fn progress(opened: &Opened) -> Progress {
    opened.progress.borrow().clone()
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    let mut bench = Bench::new();
    let opened = bench.open("a").unwrap();
    let message = AudioMessage {
        first_frame: 0,
        samples: Bytes::from_static(&[0; 20]),
    };
    let mut turn = Turn::new(bench.now, 7);
    bench
        .sequencer
        .audio(&opened.session, opened.connection, &message, &mut turn);
    assert_eq!(progress(&opened).durable, 0);
    let (group, end) = turn.split();
    let (_, counts) = group.finish().unwrap();
    bench.sequencer.committed(end, &counts, &[0]);
    assert_eq!(progress(&opened).durable, 10);
}

#[test]
fn after_a_failed_append_the_client_goes_on_where_the_log_is() {
    let mut bench = Bench::new();
    let opened = bench.open("a").unwrap();
    bench.audio(&opened, 0, 10, true);
    bench.audio(&opened, 10, 40_000, false);
    assert_eq!(progress(&opened).refusal.unwrap().code(), "storage");
    // What the connection sent before it heard of the failure would leave a gap: it is not heard.
    assert_eq!(bench.audio(&opened, 40_010, 10, true), 0);
    let again = bench.open("a").unwrap();
    assert_eq!(again.next_frame, 10);
    bench.audio(&again, 10, 40_000, true);
    assert_eq!(progress(&again).durable, 40_010);
}

#[test]
fn a_session_whose_beginning_was_not_stored_never_was() {
    let mut bench = Bench::new();
    let (reply, mut answer) = oneshot::channel();
    bench.turn(|sequencer, turn| sequencer.open(&hello("a"), reply, turn), false);
    assert_eq!(answer.try_recv().unwrap().err().unwrap().code(), "storage");
    assert_eq!(bench.sequencer.open_sessions(), 0);
    assert_eq!(bench.open("a").unwrap().next_frame, 0);
}

#[test]
fn an_end_that_was_not_stored_is_asked_for_again() {
    let mut bench = Bench::new();
    let opened = bench.open("a").unwrap();
    bench.audio(&opened, 0, 10, true);
    let (session, connection) = (opened.session.clone(), opened.connection);
    bench.turn(|sequencer, turn| sequencer.end(&session, connection, turn), false);
    let again = bench.open("a").unwrap();
    assert!(!again.ended);
    let written = bench.turn(|sequencer, turn| sequencer.end(&session, again.connection, turn), true);
    assert_eq!(written, 2, "the control record and the session's");
    assert!(progress(&again).ended);
    let (ended, known) = (bench.open("a").unwrap(), bench.catalog.find(&session));
    assert!(ended.ended && ended.next_frame == 10);
    assert_eq!(known, Known::Ended { frames: 10 });
}

#[test]
fn of_two_connections_only_the_newer_is_heard() {
    let mut bench = Bench::new();
    let old = bench.open("a").unwrap();
    let new = bench.open("a").unwrap();
    assert_eq!(progress(&old).refusal, Some(Refusal::TakenOver));
    assert_eq!(bench.audio(&old, 0, 10, true), 0);
    assert_eq!(bench.audio(&new, 0, 10, true), 1);
    // The old one's leaving does not make the session wait.
    let (session, connection) = (old.session.clone(), old.connection);
    bench.turn(|sequencer, turn| sequencer.leave(&session, connection, turn), true);
    bench.now += Duration::from_secs(3600);
    assert_eq!(
        bench.turn(|sequencer, turn| sequencer.expire(turn), true),
        1,
        "it is not ended, but written down as ours"
    );
    assert_eq!(bench.audio(&new, 10, 10, true), 1);
}

#[test]
fn places_are_free_again_when_sessions_end() {
    let mut bench = Bench::new();
    let first = bench.open("a").unwrap();
    bench.open("b").unwrap();
    assert_eq!(bench.open("c").err(), Some(Refusal::TooManySessions(2)));
    let (session, connection) = (first.session.clone(), first.connection);
    bench.turn(|sequencer, turn| sequencer.leave(&session, connection, turn), true);
    assert_eq!(
        bench.open("c").err(),
        Some(Refusal::TooManySessions(2)),
        "its client may come back"
    );
    bench.now += Duration::from_secs(61);
    bench.turn(|sequencer, turn| sequencer.expire(turn), true);
    assert!(bench.open("c").is_ok());
}

#[test]
fn a_long_session_is_written_down_now_and_then() {
    let mut bench = Bench::new();
    let opened = bench.open("a").unwrap();
    let mut records = 0;
    for second in 0..300 {
        records += bench.audio(&opened, second * 1000, 1000, true) - 1;
    }
    assert_eq!(records, 10, "every 30 seconds");
    let stored = bench.catalog.stored("a").unwrap();
    let record = stored.record.clone().unwrap();
    assert_eq!((stored.frames, record.frames), (300_000, 300_000));
    // Reading from a mark finds the frame: one record a second, so offsets are seconds.
    for frame in [0, 29_999, 30_000, 155_000, 299_999] {
        let mark = stored.mark_before(frame);
        assert!(
            mark.frame <= frame && mark.offset <= mark.frame / 1000,
            "{frame}: {mark:?}"
        );
    }
}

#[test]
fn a_silent_session_is_written_down_as_its_partition_grows() {
    let mut bench = Bench::new();
    let silent = bench.open("silent").unwrap();
    bench.audio(&silent, 0, 10, true);
    for _ in 0..100 {
        for end in bench.sequencer.ends.iter_mut() {
            *end += 5000;
        }
        bench.turn(|sequencer, turn| sequencer.expire(turn), true);
    }
    let stored = bench.catalog.stored("silent").unwrap();
    let record = stored.record.unwrap();
    assert!(record.checkpoint.offset + 20_000 >= 500_000, "{record:?}");
    assert_eq!((record.frames, record.marks.len()), (10, 2), "{record:?}");
    assert_eq!(record.marks[0].frame, 0);
}

/// A record of another gateway's session.
fn theirs(name: &str, frames: u64, ended: bool) -> SessionRecord {
    let id = SessionId::parse(name).unwrap();
    SessionRecord {
        frames,
        ended,
        ..SessionRecord::begin(&id, "theirs", &hello(name), 7, 0)
    }
}

#[test]
fn a_client_that_comes_from_another_gateway_goes_on_where_the_log_is() {
    let mut bench = Bench::new();
    bench.sequencer.heard(theirs("a", 0, false), bench.now);
    assert_eq!(bench.catalog.find(&SessionId::parse("a").unwrap()), Known::Open);
    let written = bench.turn(
        |sequencer, turn| sequencer.take_up(theirs("a", 500, false), true, turn),
        true,
    );
    assert_eq!(written, 1, "the others are told whose it is");
    let opened = bench.open("a").unwrap();
    assert_eq!((opened.next_frame, progress(&opened).durable), (500, 500));
    assert_eq!(bench.audio(&opened, 500, 10, true), 1);
    assert_eq!(bench.catalog.stored("a").unwrap().record.unwrap().gateway, "ours");
}

#[test]
fn a_client_that_goes_to_another_gateway_does_not_end_its_session_here() {
    let mut bench = Bench::new();
    let opened = bench.open("a").unwrap();
    bench.audio(&opened, 0, 10, true);
    bench.sequencer.heard(theirs("a", 10, false), bench.now);
    assert_eq!(progress(&opened).refusal, Some(Refusal::TakenOver));
    assert_eq!(bench.audio(&opened, 10, 10, true), 0);
    bench.now += Duration::from_secs(59);
    bench.sequencer.heard(theirs("a", 10, false), bench.now);
    bench.now += Duration::from_secs(59);
    assert!(
        bench.sequencer.left_behind(bench.now).is_empty(),
        "its gateway still tells of it"
    );
    assert_eq!(bench.turn(|sequencer, turn| sequencer.expire(turn), true), 0);
    bench.sequencer.heard(theirs("a", 20, true), bench.now);
    let ended = bench.open("a").unwrap();
    assert!(ended.ended && ended.next_frame == 20);
}

#[test]
fn a_session_whose_gateway_is_gone_is_ended() {
    let mut bench = Bench::new();
    bench.sequencer.heard(theirs("a", 0, false), bench.now);
    bench.now += Duration::from_secs(61);
    let left = bench.sequencer.left_behind(bench.now);
    assert_eq!(left, [theirs("a", 0, false)]);
    let written = bench.turn(
        |sequencer, turn| sequencer.take_up(theirs("a", 30, false), false, turn),
        true,
    );
    assert_eq!(written, 2, "the control record and the session's");
    assert!(bench.sequencer.left_behind(bench.now).is_empty());
    assert!(bench.open("a").unwrap().ended);
}

/// What may happen to a session.
#[derive(Clone, Debug)]
enum Happening {
    /// A client connects, the last one may still be there.
    Connect,
    /// The connection of this age sends frames from about here.
    Send { age: usize, first: u64, frames: u64 },
    /// The connection of this age is gone.
    Leave { age: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        1 => Just(Happening::Connect),
        6 => (0_usize..3, 0_u64..300, 1_u64..40).prop_map(|(age, first, frames)| Happening::Send { age, first, frames }),
        1 => (0_usize..3).prop_map(|age| Happening::Leave { age }),
    ]
}

proptest! {
    /// Whatever clients send, through however many connections, and whichever appends fail: the log has the session's
    /// samples from the first on, each once, in order, and nothing is acknowledged that it does not have.
    #[test]
    fn the_log_has_every_sample_once_and_in_order(
        turns in prop::collection::vec((prop::collection::vec(happening(), 1..6), prop::bool::weighted(0.8)), 1..40),
    ) {
        let mut bench = Bench::new();
        let mut connections: Vec<Opened> = Vec::new();
        let mut log: Vec<u8> = Vec::new();
        for (happenings, durable) in turns {
            let mut turn = Turn::new(bench.now, 7);
            let mut answers = Vec::new();
            for happening in happenings {
                let at = |age: usize| connections.iter().rev().nth(age);
                match happening {
                    Happening::Connect => {
                        let (reply, answer) = oneshot::channel();
                        bench.sequencer.open(&hello("a"), reply, &mut turn);
                        answers.push(answer);
                    }
                    Happening::Send { age, first, frames } => if let Some(opened) = at(age) {
                        let samples: Vec<u8> = (first..first + frames).flat_map(|n| (n as u16).to_le_bytes()).collect();
                        let message = AudioMessage { first_frame: first, samples: samples.into() };
                        bench.sequencer.audio(&opened.session, opened.connection, &message, &mut turn);
                    }
                    Happening::Leave { age } => if let Some(opened) = at(age) {
                        bench.sequencer.leave(&opened.session, opened.connection, &turn);
                    }
                }
            }
            let (group, end) = turn.split();
            let (appends, counts) = group.finish().unwrap();
            if durable {
                for append in appends.iter().filter(|append| &*append.to.topic == rechka_types::topics::AUDIO) {
                    for record in append.batch.iter() {
                        let frame = crate::reading::header_number(&record, headers::FRAME).unwrap();
                        prop_assert_eq!(2 * frame as usize, log.len());
                        log.extend_from_slice(record.value);
                    }
                }
                bench.sequencer.committed(end, &counts, &vec![0; counts.len()]);
            } else {
                bench.sequencer.failed(end, &LogError::Storage("the disk is full".into()));
            }
            let opened = answers.into_iter().filter_map(|mut answer| answer.try_recv().ok()?.ok());
            connections.extend(opened);
            for opened in &connections {
                prop_assert!(2 * progress(opened).durable as usize <= log.len());
            }
        }
        prop_assert!(log.chunks_exact(2).zip(0_u16..).all(|(sample, n)| sample == n.to_le_bytes()));
    }
}
