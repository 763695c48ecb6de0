//! Random queries.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::random::Random;

/// What kind of query it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Rows one by one.
    Rows,
    /// Groups of windows of the stream `e`.
    Windows,
    /// Groups of sessions of the stream `e`.
    Sessions,
    /// Groups of windows of something else; joins, ranks and aggregates of such.
    Derived,
    /// Groups or ranks that change.
    Changing,
}

impl Shape {
    /// Whether its late rows tell which row missed which window, or which session.
    pub fn tells_late_rows(self) -> bool {
        matches!(self, Shape::Windows | Shape::Sessions)
    }

    /// Whether a row that is written is never changed.
    pub fn appends(self) -> bool {
        self != Shape::Changing
    }
}

/// A condition on the rows of `e`.
struct Condition {
    sql: &'static str,
    holds: fn(&Value) -> bool,
}

const CONDITIONS: [Condition; 6] = [
    Condition {
        sql: "true",
        holds: |_| true,
    },
    Condition {
        sql: "v > 3",
        holds: |row| row["v"].as_i64().is_some_and(|v| v > 3),
    },
    Condition {
        sql: "v IS NOT NULL",
        holds: |row| !row["v"].is_null(),
    },
    Condition {
        sql: "k <> 'a'",
        holds: |row| row["k"].as_str().is_some_and(|k| k != "a"),
    },
    Condition {
        sql: "k IS NULL OR v % 2 = 0",
        holds: |row| row["k"].is_null() || row["v"].as_i64().is_some_and(|v| v % 2 == 0),
    },
    Condition {
        sql: "k IN ('a', 'c') AND id > 3",
        holds: |row| matches!(row["k"].as_str(), Some("a" | "c")) && row["id"].as_i64() > Some(3),
    },
];

const AGGREGATES: [&str; 20] = [
    "count(*)",
    "count(v)",
    "sum(v)",
    "min(v)",
    "max(v)",
    "avg(v)",
    "count(DISTINCT v)",
    "sum(DISTINCT v)",
    "sum(v) FILTER (WHERE v > 4)",
    "count(DISTINCT k) FILTER (WHERE v IS NOT NULL)",
    "first_value(v ORDER BY ts, id)",
    "last_value(id ORDER BY ts, id)",
    "median(v)",
    "percentile_cont(0.3) WITHIN GROUP (ORDER BY v)",
    "array_agg(id ORDER BY id)",
    "string_agg(k, ',' ORDER BY id)",
    "bool_or(v > 7)",
    "bit_xor(id)",
    "min(ts)",
    "approx_distinct(v)",
];

/// Where late rows are left out.
const LATE: &str = "/* late */";

/// A window function over event time, in milliseconds.
#[derive(Clone, Copy)]
enum Window {
    Tumble { size: i64 },
    Hop { slide: i64, size: i64 },
    Cumulate { step: i64, size: i64 },
    Session { gap: i64 },
}

impl Window {
    fn new(random: &mut Random) -> Self {
        let seconds = 1_000 * (1 + random.below(10));
        match random.below(5) {
            0 | 1 => Window::Tumble { size: seconds },
            2 => Window::Hop {
                slide: seconds,
                size: seconds * (1 + random.below(4)),
            },
            3 => Window::Cumulate {
                step: seconds,
                size: seconds * (1 + random.below(4)),
            },
            _ => Window::Session { gap: seconds },
        }
    }

    fn over(self, source: &str) -> String {
        let interval = |milliseconds: i64| format!("INTERVAL '{} seconds'", milliseconds / 1000);
        match self {
            Window::Tumble { size } => format!("TUMBLE({source}, ts, {})", interval(size)),
            Window::Hop { slide, size } => format!("HOP({source}, ts, {}, {})", interval(slide), interval(size)),
            Window::Cumulate { step, size } => {
                format!("CUMULATE({source}, ts, {}, {})", interval(step), interval(size))
            }
            Window::Session { gap } => format!("SESSION({source}, ts, {})", interval(gap)),
        }
    }

    /// The ends of the windows that a moment falls in; not of sessions.
    fn ends(self, time: i64) -> Vec<i64> {
        let start = |length: i64| time.div_euclid(length) * length;
        match self {
            Window::Tumble { size } => vec![start(size) + size],
            Window::Hop { slide, size } => {
                let starts = (0..size / slide).map(|back| start(slide) - back * slide);
                starts.map(|start| start + size).collect()
            }
            Window::Cumulate { step, size } => {
                let ends = (1..=size / step).map(|steps| start(size) + steps * step);
                ends.filter(|end| *end > time).collect()
            }
            Window::Session { .. } => Vec::new(),
        }
    }
}

pub struct Query {
    pub shape: Shape,
    options: &'static str,
    sql: String,
    window: Option<Window>,
    condition: usize,
}

impl Query {
    pub fn new(random: &mut Random) -> Self {
        let condition = random.below(CONDITIONS.len() as i64) as usize;
        let mut query = Query {
            shape: Shape::Derived,
            options: "",
            sql: String::new(),
            window: None,
            condition,
        };
        let filter = CONDITIONS[condition].sql;
        match random.below(16) {
            0 => {
                query.shape = Shape::Rows;
                query.sql = format!(
                    "SELECT id, coalesce(v, -1) * 2 AS v, CASE WHEN v > 5 THEN k ELSE 'x' END AS k, ts FROM e WHERE {filter}"
                );
            }
            1..=4 => {
                let window = Window::new(random);
                let update = random.percent(20);
                query.sql = windows(random, window, "e", &format!("({filter}) {LATE}"));
                match window {
                    Window::Session { .. } => query.shape = Shape::Sessions,
                    _ if update => (query.shape, query.options) = (Shape::Changing, "WITH (output_mode = 'update')"),
                    _ => (query.shape, query.window) = (Shape::Windows, Some(window)),
                }
            }
            5 => {
                let source = match random.below(3) {
                    0 => format!("(SELECT id, k, v + 1 AS v, ts FROM e WHERE {filter})"),
                    1 => "(SELECT id, k, v, ts FROM e UNION ALL SELECT id + 1000, k, w, ts FROM f)".to_owned(),
                    _ => format!(
                        "(SELECT e.id * 1000 + f.id AS id, e.k AS k, e.v AS v, f.ts AS ts FROM e JOIN f ON {})",
                        bounds(random)
                    ),
                };
                let window = Window::new(random);
                query.sql = windows(random, window, &source, "true");
            }
            6 => {
                let window = Window::new(random);
                let inner = windows(random, window, "e", filter);
                query.sql = format!(
                    "SELECT window_end, count(*) AS n, max(top) AS m FROM ({inner}) GROUP BY window_start, window_end"
                );
                if matches!(window, Window::Session { .. }) {
                    query.sql = inner;
                }
            }
            7 => {
                query.shape = Shape::Changing;
                query.options = ["", "WITH (output_mode = 'complete')"][random.below(2) as usize];
                let (keys, having) = (
                    random.one_of(&["k", "k, v % 3", "v"]),
                    random.one_of(&["", "HAVING count(*) > 3"]),
                );
                query.sql = format!(
                    "SELECT {keys}, {} FROM e WHERE {filter} GROUP BY {keys} {having}",
                    aggregates(random)
                );
            }
            8 | 9 => {
                let (kind, bounds) = (
                    random.one_of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]),
                    bounds(random),
                );
                let more = random.one_of(&["", "AND e.v <= f.w", "AND e.id <> f.id"]);
                query.sql = format!("SELECT e.id AS a, f.id AS b, e.v, f.w FROM e {kind} f ON {bounds} {more}");
            }
            10 => {
                let (kind, bounds) = (random.one_of(&["EXISTS", "NOT EXISTS"]), bounds(random));
                query.sql = format!("SELECT e.id, e.k FROM e WHERE {kind} (SELECT 1 FROM f WHERE {bounds})");
            }
            11 => {
                let window = Window::Tumble {
                    size: 1_000 * (1 + random.below(10)),
                };
                let (left, right) = (window.over("e"), window.over("f"));
                let count = |source: &str| {
                    format!(
                        "(SELECT k, window_start, window_end, count(*) AS n, max(id) AS m FROM {source} GROUP BY k, window_start, window_end)"
                    )
                };
                let kind = random.one_of(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
                query.sql = format!(
                    "SELECT a.k, a.window_end, a.n, a.m AS top, b.n AS other, b.m AS low FROM {} AS a {kind} {} AS b \
                     ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
                    count(&left),
                    count(&right)
                );
            }
            12 | 13 => {
                let gap = 1_000 * (1 + random.below(3));
                query.shape = Shape::Sessions;
                query.sql = windows(random, Window::Session { gap }, "e", &format!("({filter}) {LATE}"));
            }
            14 => {
                query.shape = Shape::Rows;
                let kind = random.one_of(&["JOIN", "LEFT JOIN"]);
                query.sql = format!("SELECT e.id, e.v, n.name FROM e {kind} names AS n ON e.k = n.k");
            }
            _ => ranks(random, &mut query),
        }
        query
    }

    pub fn stream(&self) -> String {
        format!("CREATE STREAM q {} AS {}", self.options, self.sql)
    }

    /// The same, without rows that missed a window or a session.
    pub fn batch(&self, late: &BTreeSet<(i64, String)>) -> String {
        let missed = |(id, end): &(i64, String)| match self.shape {
            Shape::Sessions => format!(" AND id <> {id}"),
            _ => format!(" AND NOT (id = {id} AND window_end = TIMESTAMP '{end}')"),
        };
        self.sql.replace(LATE, &late.iter().map(missed).collect::<String>())
    }

    /// The ends of the windows that a moment falls in, if late rows are those that missed one.
    pub fn window_ends(&self) -> Option<impl Fn(i64) -> Vec<i64>> {
        self.window.map(|window| move |time| window.ends(time))
    }

    /// Whether the query asks for a row of `e`.
    pub fn keeps(&self, json: &str) -> bool {
        (CONDITIONS[self.condition].holds)(&serde_json::from_str(json).unwrap())
    }
}

fn aggregates(random: &mut Random) -> String {
    let some = (0..1 + random.below(3)).map(|number| format!("{} AS a{number}", random.one_of(&AGGREGATES)));
    some.chain(["max(id) AS top".to_owned()]).collect::<Vec<_>>().join(", ")
}

fn windows(random: &mut Random, window: Window, source: &str, filter: &str) -> String {
    let keys = random.one_of(&["", "k, ", "k, v % 2, "]);
    let having = random.one_of(&["", "", "HAVING count(*) > 1"]);
    let aggregates = aggregates(random);
    let from = window.over(source);
    format!(
        "SELECT {keys}window_start, window_end, {aggregates} FROM {from} WHERE {filter} GROUP BY {keys}window_start, window_end {having}"
    )
}

/// Rows of a key whose times are not far apart.
fn bounds(random: &mut Random) -> String {
    let lower = random.below(9) - 5;
    let upper = lower + random.below(7);
    let from = |seconds: i64| match seconds {
        0 => "e.ts".to_owned(),
        1.. => format!("e.ts + INTERVAL '{seconds} seconds'"),
        _ => format!("e.ts - INTERVAL '{} seconds'", -seconds),
    };
    match random.percent(50) {
        true => format!("e.k = f.k AND f.ts BETWEEN {} AND {}", from(lower), from(upper)),
        false => format!("e.k = f.k AND f.ts > {} AND f.ts <= {}", from(lower - 1), from(upper)),
    }
}

fn ranks(random: &mut Random, query: &mut Query) {
    let most = 1 + random.below(3);
    if random.percent(50) {
        let window = Window::Tumble {
            size: 1_000 * (1 + random.below(10)),
        }
        .over("e");
        let by = random.one_of(&["", ", k"]);
        query.sql = format!(
            "SELECT id, v, window_end, r FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end{by} \
             ORDER BY v DESC NULLS LAST, id) AS r FROM {window}) WHERE r <= {most}"
        );
    } else {
        query.shape = Shape::Changing;
        let order = random.one_of(&["v DESC NULLS LAST, id", "ts, id", "ts DESC, id"]);
        query.sql = format!(
            "SELECT k, r, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS r FROM e) WHERE r <= {most}"
        );
    }
}
