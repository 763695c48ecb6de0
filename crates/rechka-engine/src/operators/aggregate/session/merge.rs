//! Which sessions become one.
use crate::operators::aggregate::{panes::Span, store::Store};

/// An open session.
#[derive(Clone, Copy)]
pub(super) struct Session {
    pub span: Span,
    /// Its number in the store.
    pub number: u32,
}

/// What merges with what, for all keys of an epoch. What changes has a place from 0 on.
pub(super) struct Merge<'a> {
    store: &'a mut Store,
    /// Of each place: the time of the session, and its number in the store.
    pub spans: Vec<Span>,
    pub numbers: Vec<u32>,
    /// Open sessions that change, and into which place they go.
    pub old: Vec<u32>,
    pub old_groups: Vec<usize>,
    /// Into which place each session of the epoch goes.
    pub new_groups: Vec<usize>,
    /// Sessions that became part of another.
    pub gone: Vec<u32>,
}

impl<'a> Merge<'a> {
    /// For so many sessions of the epoch; new sessions get numbers of the store.
    pub fn new(store: &'a mut Store, new: usize) -> Self {
        Merge {
            store,
            spans: Vec::new(),
            numbers: Vec::new(),
            old: Vec::new(),
            old_groups: Vec::new(),
            new_groups: vec![0; new],
            gone: Vec::new(),
        }
    }

    /// The sessions of a key, from those that are open and those of the epoch, both by their start.
    pub fn key(&mut self, open: &[Session], new: impl Iterator<Item = (u32, Span)>) -> Vec<Session> {
        let mut open = open.iter().copied().peekable();
        let mut new = new.peekable();
        let mut sessions: Vec<Session> = Vec::with_capacity(open.len() + 1);
        // The place of the last session, if it changes.
        let mut place = None;
        loop {
            let next_is_open = match (open.peek(), new.peek()) {
                (Some(open), Some((_, new))) => open.span.start <= new.start,
                (open, None) => open.is_some(),
                (None, _) => false,
            };
            if next_is_open && let Some(session) = open.next() {
                match (sessions.last_mut(), place) {
                    (Some(last), Some(place)) if last.span.overlaps(session.span) => {
                        last.span.extend(session.span);
                        self.old.push(session.number);
                        self.old_groups.push(place);
                        self.gone.push(session.number);
                    }
                    _ => {
                        sessions.push(session);
                        place = None;
                    }
                }
            } else if let Some((number, span)) = new.next() {
                match sessions.last_mut() {
                    Some(last) if last.span.overlaps(span) => {
                        last.span.extend(span);
                        if place.is_none() {
                            self.old.push(last.number);
                            self.old_groups.push(self.numbers.len());
                            place = Some(self.change(*last));
                        }
                    }
                    _ => {
                        let session = Session {
                            span,
                            number: self.store.reserve(),
                        };
                        place = Some(self.change(session));
                        sessions.push(session);
                    }
                }
                self.new_groups[number as usize] = place.unwrap_or_default();
            } else {
                return sessions;
            }
            if let (Some(place), Some(last)) = (place, sessions.last()) {
                self.spans[place] = last.span;
            }
        }
    }

    /// Gives a session that changes a place.
    fn change(&mut self, session: Session) -> usize {
        self.spans.push(session.span);
        self.numbers.push(session.number);
        self.numbers.len() - 1
    }
}
