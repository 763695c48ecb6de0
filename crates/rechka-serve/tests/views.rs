//! Views over HTTP, server-sent events and WebSocket, and their page in a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod browser;
mod common;

use std::{path::Path, sync::Arc};

use arrow::{
    array::AsArray,
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
    ipc::reader::StreamReader,
};
use browser::{Browser, Options};
use common::*;
use futures_util::{SinkExt, StreamExt};
use rechka_formats::Format;
use rechka_log::{Append, BatchBuilder, Cleanup, Log, SqliteLog, TopicPartition, TopicSpec};
use rechka_serve::{Gateway, GatewayConfig};
use rechka_sql::{Kind, Relation};
use rechka_store::Views;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

fn relation(name: &str, columns: &[(&str, DataType)], key: &[usize]) -> Relation {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), true))
        .collect();
    Relation {
        name: name.into(),
        kind: Kind::View,
        schema: Arc::new(Schema::new(fields)),
        event_time: None,
        key: key.to_vec(),
        topic: name.into(),
        partitions: 1,
        format: Format::Json,
        related_times: vec![],
        metadata: vec![],
        file: None,
    }
}

fn users() -> Relation {
    let columns = [
        ("user_id", DataType::Int64),
        ("clicks", DataType::Int64),
        ("city", DataType::Utf8),
    ];
    relation("users", &columns, &[0])
}

fn user(id: i64, clicks: i64, city: &str) -> Value {
    json!({"user_id": id, "clicks": clicks, "city": city})
}

struct Bench {
    served: Served,
    log: Arc<dyn Log>,
    views: Arc<Views>,
}

impl Bench {
    async fn start(directory: &Path, relations: Vec<Relation>) -> Self {
        let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory).unwrap());
        for relation in &relations {
            let topic = TopicSpec {
                cleanup: Cleanup::Compact,
                ..TopicSpec::new(relation.topic.clone(), relation.partitions)
            };
            log.create_topic(&topic).unwrap();
        }
        let views = Arc::new(Views::new(log.clone(), rechka_store::Limits::default()));
        views.follow(relations).unwrap();
        let gateway = Gateway::with_views(log.clone(), GatewayConfig::default(), Vec::new(), views.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = Served::serve(gateway, listener, log.clone());
        Self { served, log, views }
    }

    /// Writes rows, and deletes the rows of keys, as one epoch; waits until it is shown.
    fn epoch(&self, view: &str, rows: &[Value], deleted: &[Value]) {
        let view = self.views.get(view).unwrap();
        let relation = view.relation();
        let key = |row: &Value| {
            let names = relation.key.iter().map(|&column| relation.schema.field(column).name());
            let members: Vec<String> = names.map(|name| format!("{}:{}", json!(name), row[name])).collect();
            format!("{{{}}}", members.join(","))
        };
        let mut batch = BatchBuilder::new();
        for row in rows {
            batch
                .push(Some(key(row).as_bytes()), row.to_string().as_bytes(), 1, &[])
                .unwrap();
        }
        for row in deleted {
            batch.push(Some(key(row).as_bytes()), b"", 1, &[]).unwrap();
        }
        let end = (rows.len() + deleted.len()) as u64;
        let append = Append {
            to: TopicPartition::new(relation.topic.clone(), 0),
            batch: batch.finish(),
        };
        let offset = self.log.append(vec![append]).unwrap().wait().unwrap()[0];
        assert!(view.wait_for(0, offset + end, PATIENCE));
    }

    async fn rows(&self, question: &str) -> Vec<Value> {
        let answer = self.served.get_json(&format!("/v1/views/{question}")).await;
        answer.as_array().unwrap().clone()
    }

    async fn refused(&self, question: &str) -> (u16, String, String) {
        let (status, _, body) = self.served.get(&format!("/v1/views/{question}")).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
        (status, text("code"), text("message"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_found_by_key_and_by_any_column() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::start(directory.path(), vec![users()]).await;
    let rows = [user(7, 3, "Ulm"), user(10, 1, "Köln & Bonn"), user(-2, 3, "Ulm")];
    bench.epoch("users", &rows, &[]);
    assert_eq!(
        bench.rows("users").await,
        [user(-2, 3, "Ulm"), user(7, 3, "Ulm"), user(10, 1, "Köln & Bonn")]
    );
    assert_eq!(bench.rows("users?key=7").await, [user(7, 3, "Ulm")]);
    assert_eq!(
        bench.rows("users?key=%7B%22user_id%22%3A7%7D").await,
        [user(7, 3, "Ulm")]
    );
    assert_eq!(bench.rows("users?user_id=10").await, [user(10, 1, "Köln & Bonn")]);
    assert_eq!(
        bench.rows("users?city=K%C3%B6ln+%26+Bonn").await,
        [user(10, 1, "Köln & Bonn")]
    );
    assert_eq!(bench.rows("users?clicks=3&city=Ulm&limit=2").await.len(), 2);
    assert!(bench.rows("users?key=8").await.is_empty());
    let (_, headers, body) = bench.served.get("/v1/views/users?limit=2").await;
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&body).unwrap().len(), 2);
    assert_eq!(headers["rechka-more"], "true");
    bench.epoch("users", &[], &[user(7, 0, "")]);
    assert!(bench.rows("users?key=7").await.is_empty());

    let list = bench.served.get_json("/v1/views").await;
    let view = &list["views"][0];
    assert_eq!(
        (&view["name"], &view["key"], &view["rows"]),
        (&json!("users"), &json!(["user_id"]), &json!(2))
    );
    assert_eq!(view["columns"][2], json!({"name": "city", "type": "VARCHAR"}));
    let (_, _, metrics) = bench.served.get("/metrics").await;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("rechka_view_rows{view=\"users\"} 2\n"), "{metrics}");
    assert_eq!(bench.served.get_json("/readyz").await["checks"]["views"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_questions_are_answered_with_what_may_be_asked() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::start(directory.path(), vec![users()]).await;
    let (status, code, message) = bench.refused("user").await;
    assert_eq!((status, code.as_str()), (404, "unknown_view"));
    assert!(message.contains("there are users"), "{message}");
    assert_eq!(bench.refused("user/changes").await.0, 404);
    let (status, code, message) = bench.refused("users?town=Ulm").await;
    assert_eq!((status, code.as_str()), (400, "unknown_column"));
    assert!(message.contains("user_id, clicks, city"), "{message}");
    assert_eq!(bench.refused("users?user_id=seven").await.1, "bad_value");
    assert_eq!(bench.refused("users?key=seven").await.1, "bad_value");
    assert_eq!(bench.refused("users?key=7&city=Ulm").await.0, 400);
    for limit in ["0", "-1", "many", "100001"] {
        assert_eq!(bench.refused(&format!("users?limit={limit}")).await.0, 400, "{limit}");
    }
    // The guards are those of the whole gateway.
    let foreign = "Origin: http://evil.example\r\n";
    for path in ["/v1/views", "/v1/views/users", "/v1/views/users/changes"] {
        assert_eq!(bench.served.get_with(path, foreign).await.0, 403, "{path}");
    }
    let mut request = format!("ws://{}/v1/views/users/changes", bench.served.address)
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("origin", "http://evil.example".parse().unwrap());
    assert!(connect_async(request).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_accepts_arrow_gets_the_same_rows_as_arrow() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::start(directory.path(), vec![users()]).await;
    bench.epoch(
        "users",
        &[user(7, 3, "Ulm"), user(8, 5, "Bonn"), user(9, 5, "Bonn")],
        &[],
    );
    let accept = "Accept: application/json;q=0.1, application/vnd.apache.arrow.stream\r\n";
    let (status, headers, body) = bench.served.get_with("/v1/views/users?limit=2", accept).await;
    assert_eq!(
        (status, headers["content-type"].as_str()),
        (200, "application/vnd.apache.arrow.stream")
    );
    assert_eq!(headers["rechka-more"], "true");
    let reader = StreamReader::try_new(body.as_slice(), None).unwrap();
    assert_eq!(reader.schema(), users().schema);
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let ids = batches[0].column(0).as_primitive::<Int64Type>().values().to_vec();
    let cities: Vec<_> = batches[0]
        .column(2)
        .as_string::<i32>()
        .iter()
        .map(Option::unwrap)
        .collect();
    assert_eq!((batches.len(), ids, cities), (1, vec![7, 8], vec!["Ulm", "Bonn"]));
    let (status, _, body) = bench.served.get_with("/v1/views/users?key=1", accept).await;
    assert_eq!(
        (status, StreamReader::try_new(body.as_slice(), None).unwrap().count()),
        (200, 0)
    );
}

/// A stream of server-sent events.
struct Events(BufReader<TcpStream>, String);

impl Events {
    async fn open(served: &Served, path: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", served.address);
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).await.unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        Self(reader, String::new())
    }

    /// Type, data, and id of the next event.
    async fn next(&mut self) -> (String, Value, Option<String>) {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let found = field("event: ").map(|kind| (kind, field("data: ").unwrap(), field("id: ")));
                self.1 = rest.to_owned();
                match found {
                    Some((kind, data, id)) => return (kind, serde_json::from_str(&data).unwrap(), id),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, async {
                let mut length = String::new();
                self.0.read_line(&mut length).await.unwrap();
                let mut chunk = vec![0; usize::from_str_radix(length.trim(), 16).unwrap() + 2];
                self.0.read_exact(&mut chunk).await.unwrap();
                chunk
            });
            let chunk = chunk.await.expect("something comes");
            self.1.push_str(std::str::from_utf8(&chunk[..chunk.len() - 2]).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_sent_events_are_a_snapshot_and_then_whole_epochs_and_can_be_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::start(directory.path(), vec![users()]).await;
    bench.epoch("users", &[user(1, 1, "Ulm"), user(2, 1, "Bonn")], &[]);
    let mut events = Events::open(&bench.served, "/v1/views/users/changes", "").await;
    let (kind, data, first) = events.next().await;
    assert_eq!(kind, "snapshot");
    assert_eq!(data["rows"], json!([user(1, 1, "Ulm"), user(2, 1, "Bonn")]));
    assert_eq!(
        (&data["more"], data["position"].as_str()),
        (&json!(false), first.as_deref())
    );

    bench.epoch("users", &[user(1, 2, "Ulm"), user(3, 1, "Ulm")], &[user(2, 0, "")]);
    let (kind, data, id) = events.next().await;
    assert_eq!(
        (kind.as_str(), &data),
        ("delete", &json!({"keys": [{"user_id": 2}], "more": true}))
    );
    assert_eq!(id, None, "the epoch is not whole yet");
    let (kind, data, second) = events.next().await;
    assert_eq!(
        (kind.as_str(), &data["rows"]),
        ("update", &json!([user(1, 2, "Ulm"), user(3, 1, "Ulm")]))
    );
    assert!(second.is_some() && second != first);
    drop(events);

    // Cut off in the middle of the epoch, a browser says the last whole one.
    let resume = format!("Last-Event-ID: {}\r\n", first.unwrap());
    let mut events = Events::open(&bench.served, "/v1/views/users/changes", &resume).await;
    assert_eq!(events.next().await.0, "delete");
    assert_eq!(events.next().await.2, second);
    let mut anew = Events::open(
        &bench.served,
        "/v1/views/users/changes?city=Ulm",
        "Last-Event-ID: 7.7\r\n",
    )
    .await;
    let (kind, data, _) = anew.next().await;
    assert_eq!((kind.as_str(), data["rows"].as_array().unwrap().len()), ("snapshot", 2));
    assert_eq!(bench.served.get_json("/v1/views").await["views"][0]["subscribers"], 2);
    drop((events, anew));
    tokio::time::timeout(PATIENCE, bench.served.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_websocket_one_hears_the_same_and_large_snapshots_come_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::start(directory.path(), vec![users()]).await;
    let many: Vec<Value> = (0..2500).map(|id| user(id, 1, "Ulm")).collect();
    bench.epoch("users", &many, &[]);
    let address = format!("ws://{}/v1/views/users/changes", bench.served.address);
    let (mut socket, _) = connect_async(&address).await.unwrap();
    let mut rows = Vec::new();
    loop {
        let message = hear(&mut socket).await;
        assert_eq!(message["event"], "snapshot");
        rows.extend(message["rows"].as_array().unwrap().clone());
        if message["more"] == false {
            break;
        }
        assert_eq!(message["position"], Value::Null);
    }
    assert_eq!(rows, many);
    assert_eq!(
        rows,
        bench.rows("users?limit=10000").await,
        "asked or told, the rows are the same"
    );
    socket
        .send(Message::text("what is said here means nothing"))
        .await
        .unwrap();
    bench.epoch("users", &[user(5, 2, "Ulm")], &[user(6, 0, "")]);
    assert_eq!(
        hear(&mut socket).await,
        json!({"event": "delete", "keys": [{"user_id": 6}], "more": true})
    );
    let last = hear(&mut socket).await;
    assert_eq!(
        (&last["event"], &last["rows"]),
        (&json!("update"), &json!([user(5, 2, "Ulm")]))
    );
    socket.close(None).await.unwrap();

    bench.epoch("users", &[user(5, 3, "Ulm")], &[]);
    let resume = format!("{address}?after={}", last["position"].as_str().unwrap());
    let (mut socket, _) = connect_async(&resume).await.unwrap();
    assert_eq!(hear(&mut socket).await["rows"], json!([user(5, 3, "Ulm")]));
    // The view goes, and says so.
    bench.views.follow(vec![]).unwrap();
    let reason = loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.unwrap() {
            Some(Ok(Message::Close(Some(frame)))) => break frame.reason,
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(reason.contains("was dropped"), "{reason}");
    assert_eq!(bench.refused("users").await.0, 404);
}

async fn hear(socket: &mut tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>) -> Value {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Revenue by window and category: `minute` of the day, in UTC.
fn revenue() -> Relation {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let columns = [
        ("window_start", time.clone()),
        ("window_end", time),
        ("category", DataType::Utf8),
        ("revenue", DataType::Float64),
        ("anomaly", DataType::Boolean),
    ];
    relation("revenue_per_minute", &columns, &[0, 1, 2])
}

fn minute(minute: u32, category: &str, revenue: f64, anomaly: bool) -> Value {
    let at = |minute: u32| format!("2026-03-01T{:02}:{:02}:00", 8 + minute / 60, minute % 60);
    json!({"window_start": at(minute), "window_end": at(minute + 1), "category": category, "revenue": revenue, "anomaly": anomaly})
}

fn picture(browser: &Browser, name: &str) {
    if let Some(directory) = std::env::var_os("RECHKA_TEST_PICTURES") {
        browser.screenshot(&Path::new(&directory).join(format!("{name}.png")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_a_view_live_with_its_plot() {
    let directory = tempfile::tempdir().unwrap();
    let Some(browser) = Browser::start(&Options::default()) else {
        return;
    };
    let bench = Bench::start(directory.path(), vec![revenue(), users()]).await;
    let (address, bench) = (bench.served.address, &bench);
    let mut rows = Vec::new();
    for number in 0..30 {
        for (index, category) in ["books", "garden", "toys"].into_iter().enumerate() {
            let value = 300.0 + 150.0 * index as f64 + f64::from((number * (7 + index as u32)) % 11) * 20.0;
            let unusual = number == 12 && index == 2;
            rows.push(minute(number, category, if unusual { 1400.0 } else { value }, unusual));
        }
    }
    bench.epoch("revenue_per_minute", &rows, &[]);
    bench.epoch("users", &[user(7, 3, "Ulm"), user(8, 5, "Bonn")], &[]);
    tokio::task::block_in_place(|| {
        browser.open(&format!("http://{address}/views"));
        browser.wait_for("document.querySelectorAll('#rows tbody tr').length === 90");
        browser.wait_for("document.querySelectorAll('#plot .line').length === 3");
        assert_eq!(browser.run("return document.querySelectorAll('#plot .flag').length"), 1);
        assert!(browser.text("#plot-note").contains("anomaly"));
        picture(&browser, "views");
        // A new window comes, one row changes, one goes.
        let changed = minute(29, "toys", 99_999.5, false);
        bench.epoch(
            "revenue_per_minute",
            &[minute(30, "books", 1.0, false), changed],
            &[minute(0, "books", 0.0, false)],
        );
        browser.wait_for("document.getElementById('rows').textContent.includes('99,999.5')");
        assert_eq!(browser.text("#count"), "90 rows");
        let first = browser.run("return document.querySelector('#rows tbody tr').innerText.split(/\\s+/)");
        assert_eq!(first[1], "08:30:00", "newest first: {first}");
        browser.click("[data-kind=bars]");
        browser.wait_for("document.querySelectorAll('#plot .bar').length === 1");
        // Only one category.
        browser.type_into("#wanted", "category=toys");
        browser.click("#filter button");
        browser.wait_for("document.getElementById('count').textContent === '30 rows'");
        browser.wait_for("document.querySelectorAll('#plot .line').length === 1");
        // A mistake is answered in words.
        browser.open(&format!("http://{address}/views#/revenue_per_minute?town=Ulm"));
        browser.wait_for("document.getElementById('trouble').textContent.includes('has no column \"town\"')");
        browser.click("#views a[href='#/users']");
        browser.wait_for("document.getElementById('name').textContent === 'users'");
        browser.wait_for("document.querySelectorAll('#plot .bar').length === 2");
        picture(&browser, "views-users");
        let complaints: Vec<String> = browser
            .log()
            .into_iter()
            .filter(|line| !line.contains("400 (Bad Request)"))
            .collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_views_the_page_says_how_to_make_one() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        dark: true,
        window: Some((390, 780)),
        ..Options::default()
    };
    let Some(browser) = Browser::start(&options) else {
        return;
    };
    let bench = Bench::start(directory.path(), vec![]).await;
    let address = bench.served.address;
    tokio::task::block_in_place(|| {
        browser.open(&format!("http://{address}/views"));
        browser.wait_for("!document.getElementById('nothing').hidden");
        assert!(browser.text("#nothing").contains("CREATE MATERIALIZED VIEW"));
        picture(&browser, "views-none");
    });
}
