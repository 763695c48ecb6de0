//! `rechka demo shop` as a process of its own: what the pipeline found out against what the visitors did, and how it looks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../crates/rechka-serve/tests/browser/mod.rs"]
mod browser;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use browser::{Browser, Options};
use serde_json::Value;

/// The binary under test; what it prints.
fn rechka(temporary: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rechka"))
        .args(arguments)
        .env("TMPDIR", temporary)
        .output()
        .expect("rechka starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("rechka prints text")
}

/// The demo's folder, after the demo.
struct Shop {
    temporary: tempfile::TempDir,
    folder: PathBuf,
    report: String,
}

impl Shop {
    fn open(rate: u32) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let report = rechka(
            temporary.path(),
            &["demo", "shop", "--once", "--rate", &rate.to_string()],
        );
        let mut entries = std::fs::read_dir(temporary.path()).unwrap();
        let folder = entries.next().expect("the demo leaves a folder").unwrap().path();
        Self {
            temporary,
            folder,
            report,
        }
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let log = format!("embedded:{}/log", self.folder.display());
        rechka(self.temporary.path(), &[arguments, &["--log", &log]].concat())
    }

    /// Values of a topic's records.
    fn consume(&self, topic: &str) -> Vec<String> {
        self.ask(&["consume", topic]).lines().map(str::to_owned).collect()
    }

    /// Copies a topic into another log.
    fn copy(&self, topic: &str, log: &str) {
        let records = self.ask(&["consume", topic, "--format", "json"]);
        let mut child = Command::new(env!("CARGO_BIN_EXE_rechka"))
            .args([
                "produce",
                topic,
                "--partitions",
                "2",
                "--key-separator",
                "|",
                "--log",
                log,
            ])
            .stdin(Stdio::piped())
            .spawn()
            .expect("rechka starts");
        let mut input = child.stdin.take().expect("standard input is piped");
        for record in records.lines() {
            let record: Value = serde_json::from_str(record).unwrap();
            writeln!(input, "{}|{}", text(&record, "key"), text(&record, "value")).unwrap();
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }

    fn query(&self, sql: &str) -> Vec<Value> {
        let rows = self.ask(&["sql", "--batch", "--format", "json", "-e", sql]);
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// Rows that came too late for a query.
    fn late(&self, query: &str) -> Vec<Value> {
        let rows = self.consume(&format!("{query}.late"));
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }
}

/// A record of the shop as the pipeline declares it; `None`: a broken one.
fn parse(record: &str, required: &[&str]) -> Option<Value> {
    let value: Value = serde_json::from_str(record).ok()?;
    let fits = required.iter().all(|name| match *name {
        "kind" | "ts" => value[name].is_string(),
        "item_id" => value[name].is_i64() || value[name].is_null(),
        _ => value[name].is_number(),
    });
    fits.then_some(value)
}

fn purchases(shop: &Shop) -> (Vec<Value>, usize) {
    let columns = ["order_id", "user_id", "item_id", "quantity", "price", "ts"];
    let records = shop.consume("purchases");
    let whole: Vec<_> = records.iter().filter_map(|record| parse(record, &columns)).collect();
    let broken = records.len() - whole.len();
    (whole, broken)
}

fn clicks(shop: &Shop) -> (Vec<Value>, usize) {
    let records = shop.consume("user-events");
    let whole: Vec<_> = records
        .iter()
        .filter_map(|record| parse(record, &["user_id", "item_id", "kind", "ts"]))
        .collect();
    let broken = records.len() - whole.len();
    (whole, broken)
}

fn categories(shop: &Shop) -> BTreeMap<i64, String> {
    let table = std::fs::read_to_string(shop.folder.join("shop/products.csv")).unwrap();
    let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let rows = table.lines().skip(1).map(fields);
    rows.map(|fields| (fields[0].parse().unwrap(), fields[2].clone()))
        .collect()
}

fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {value}"))
        .to_owned()
}

/// `YYYY-MM-DD HH:MM` of a timestamp.
fn minute(value: &Value, name: &str) -> String {
    text(value, name)[..16].replace('T', " ")
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn whole(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn the_shops_figures_are_those_of_its_records() {
    let shop = Shop::open(100);
    let ((purchases, broken_purchases), (clicks, broken_clicks)) = (purchases(&shop), clicks(&shop));
    assert!(
        purchases.len() > 2_000 && clicks.len() > 50_000,
        "{} purchases, {} clicks",
        purchases.len(),
        clicks.len()
    );
    revenue_is_what_was_paid(&shop, &purchases);
    visits_hold_every_click(&shop, &clicks);
    conversions_are_purchases_of_what_was_in_the_cart(&shop, &purchases, &clicks);
    features_count_every_click(&shop, &clicks);
    every_order_is_in_the_archive_once(&shop, &purchases);
    assert!(
        !shop.report.contains("\n0 late rows"),
        "some come late: {}",
        shop.report
    );
    every_broken_record_is_a_dead_letter(&shop, broken_purchases + broken_clicks);
}

fn revenue_is_what_was_paid(shop: &Shop, purchases: &[Value]) {
    let categories = categories(shop);
    let mut paid = BTreeMap::<(String, String), (i64, f64)>::new();
    for purchase in purchases {
        let category = categories[&whole(purchase, "item_id")].clone();
        let (orders, sum) = paid.entry((minute(purchase, "ts"), category)).or_default();
        *orders += 1;
        *sum += number(purchase, "quantity") * number(purchase, "price");
    }
    let mut found = BTreeMap::<(String, String), (i64, f64)>::new();
    for row in shop.query("SELECT * FROM revenue") {
        let place = (minute(&row, "window_start"), text(&row, "category"));
        let before = found.insert(place, (whole(&row, "orders"), number(&row, "revenue")));
        assert_eq!(before, None, "a window has one row: {row}");
    }
    let late = shop.late("revenue");
    assert!(
        late.len() < purchases.len() / 20,
        "{} of {} were late",
        late.len(),
        purchases.len()
    );
    for row in late {
        let (orders, sum) = found
            .entry((minute(&row, "window_start"), text(&row, "category")))
            .or_default();
        *orders += 1;
        *sum += number(&row, "amount");
    }
    let cents = |figures: BTreeMap<(String, String), (i64, f64)>| -> Vec<_> {
        figures
            .into_iter()
            .map(|(place, (orders, sum))| (place, orders, (sum * 100.0).round() as i64))
            .collect()
    };
    assert_eq!(cents(found), cents(paid));
}

fn visits_hold_every_click(shop: &Shop, clicks: &[Value]) {
    let visits = shop.query("SELECT user_id, clicks FROM visits");
    let in_visits: i64 = visits.iter().map(|visit| whole(visit, "clicks")).sum();
    let late = shop.late("visits").len() as i64;
    assert_eq!(in_visits + late, clicks.len() as i64);
}

fn conversions_are_purchases_of_what_was_in_the_cart(shop: &Shop, purchases: &[Value], clicks: &[Value]) {
    let key = |value: &Value| (whole(value, "user_id"), value["item_id"].as_i64());
    let mut carts = BTreeMap::<_, Vec<String>>::new();
    for click in clicks.iter().filter(|click| click["kind"] == "cart") {
        carts.entry(key(click)).or_default().push(moment(click, "ts"));
    }
    let mut possible = BTreeMap::new();
    for purchase in purchases {
        let bought = moment(purchase, "ts");
        for carted in carts.get(&key(purchase)).into_iter().flatten() {
            if seconds(carted) <= seconds(&bought) && seconds(carted) >= seconds(&bought) - 600.0 {
                let user = whole(purchase, "user_id");
                possible.insert((whole(purchase, "order_id"), carted.clone()), (user, bought.clone()));
            }
        }
    }
    let rows = shop.query("SELECT order_id, carted FROM conversions");
    let found: BTreeSet<_> = rows
        .iter()
        .map(|row| (whole(row, "order_id"), moment(row, "carted")))
        .collect();
    assert_eq!(found.len(), rows.len(), "each once");
    let strange: Vec<_> = found.iter().filter(|pair| !possible.contains_key(pair)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(
        found.len() > purchases.len() / 2,
        "{} of {}",
        found.len(),
        possible.len()
    );
    // A pair is only missing when one of the two came late.
    let late: BTreeSet<_> = shop
        .late("conversions")
        .iter()
        .map(|row| (whole(row, "user_id"), moment(row, "ts")))
        .collect();
    for (pair, (user, bought)) in possible {
        let came_late = [&pair.1, &bought].map(|at| late.contains(&(user, at.clone())));
        assert!(
            found.contains(&pair) || came_late.contains(&true),
            "{pair:?} is missing"
        );
    }
}

/// `YYYY-MM-DD HH:MM:SS.mmm`.
fn moment(value: &Value, name: &str) -> String {
    let written = text(value, name).replace('T', " ");
    let (seconds, fraction) = written.trim_end_matches('Z').split_once('.').unwrap_or((&written, ""));
    format!("{seconds}.{fraction:0<3}")
}

/// Seconds of the day of a moment.
fn seconds(moment: &str) -> f64 {
    let part = |range: std::ops::RangeFrom<usize>, length: usize| -> f64 { moment[range][..length].parse().unwrap() };
    part(11.., 2) * 3_600.0
        + part(14.., 2) * 60.0
        + part(17.., 2)
        + moment.get(19..).and_then(|rest| rest.parse().ok()).unwrap_or(0.0)
}

fn features_count_every_click(shop: &Shop, clicks: &[Value]) {
    let users: BTreeSet<_> = clicks.iter().map(|click| whole(click, "user_id")).collect();
    let features =
        shop.query("SELECT count(*) AS users, sum(clicks) AS clicks, sum(carts) AS carts FROM user_features");
    let carts = clicks.iter().filter(|click| click["kind"] == "cart").count();
    let expected = [users.len(), clicks.len(), carts].map(|count| count as i64);
    assert_eq!(
        ["users", "clicks", "carts"].map(|name| whole(&features[0], name)),
        expected
    );
}

fn every_order_is_in_the_archive_once(shop: &Shop, purchases: &[Value]) {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(shop.folder.join("shop-archive")).unwrap() {
        let path = entry.unwrap().path();
        let sql = format!(
            "CREATE TABLE part (order_id BIGINT, PRIMARY KEY (order_id)) WITH (path = '{}'); SELECT order_id FROM part",
            path.display()
        );
        found.extend(shop.query(&sql).iter().map(|row| whole(row, "order_id")));
    }
    found.sort_unstable();
    let mut orders: Vec<_> = purchases.iter().map(|purchase| whole(purchase, "order_id")).collect();
    orders.sort_unstable();
    assert_eq!(found, orders);
}

fn every_broken_record_is_a_dead_letter(shop: &Shop, broken: usize) {
    let mut places = BTreeSet::new();
    for topic in ["user-events.dead", "purchases.dead"] {
        for line in shop.ask(&["consume", topic, "--format", "json"]).lines() {
            let letter: Value = serde_json::from_str(line).unwrap();
            let headers = &letter["headers"];
            places.insert((
                topic,
                headers["dead.partition"].to_string(),
                headers["dead.offset"].to_string(),
            ));
        }
    }
    assert_eq!(places.len(), broken);
    assert!(
        broken > 5 && shop.report.contains(&format!(" {broken} dead letters")),
        "{broken}: {}",
        shop.report
    );
}

#[test]
fn the_rows_of_the_pipeline_are_those_of_the_same_text_run_once_over_what_is_stored() {
    let shop = Shop::open(20);
    let folder = shop.temporary.path().join("again");
    let log = format!("embedded:{}/log", folder.display());
    let again = |arguments: &[&str]| rechka(shop.temporary.path(), &[arguments, &["--log", &log]].concat());
    std::fs::create_dir_all(folder.join("shop")).unwrap();
    for name in ["shop.sql", "shop/products.csv"] {
        std::fs::copy(shop.folder.join(name), folder.join(name)).unwrap();
    }
    let pipeline = folder.join("shop.sql").display().to_string();
    for topic in ["user-events", "purchases"] {
        shop.copy(topic, &log);
    }
    // All in one epoch, in which nothing can come late.
    again(&["run", "--once", "--epoch", "1m", &pipeline]);
    let sorted = |rows: Vec<&str>| {
        let mut rows: Vec<_> = rows.into_iter().map(rounded).collect();
        rows.sort_unstable();
        rows
    };
    let batch = again(&["sql", "--batch", "--format", "json", &pipeline]);
    let mut relations = 0;
    for part in batch.split("-- ").skip(1) {
        let (name, rows) = part.split_once('\n').expect("a line with the name");
        let kept = again(&[
            "sql",
            "--batch",
            "--format",
            "json",
            "-e",
            &format!("SELECT * FROM {name}"),
        ]);
        assert_eq!(sorted(kept.lines().collect()), sorted(rows.lines().collect()), "{name}");
        assert!(!rows.is_empty(), "{name} has rows");
        relations += 1;
    }
    assert_eq!(relations, 9);
}

/// A row whose numbers have few enough digits not to depend on the order in which they were added, without columns that are NULL.
fn rounded(row: &str) -> String {
    let Value::Object(mut row) = serde_json::from_str(row).unwrap() else {
        panic!("{row} is no object")
    };
    row.retain(|_, value| !value.is_null());
    for value in row.values_mut() {
        if let Some(number) = value.as_f64().filter(|_| value.is_f64()) {
            *value = format!("{number:.6}").into();
        }
    }
    Value::Object(row).to_string()
}

/// The demo that goes on; killed when dropped.
struct OpenShop {
    child: Child,
    /// Kept open: the demo goes on writing.
    _output: BufReader<ChildStdout>,
    address: String,
    _temporary: tempfile::TempDir,
}

impl OpenShop {
    fn open() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rechka"))
            .args(["demo", "shop", "--listen", "127.0.0.1:0"])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("rechka starts");
        let mut first = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        output.read_line(&mut first).unwrap();
        let address = first.split_whitespace().find(|word| word.starts_with("http://"));
        let address = address.expect("it says where it listens").to_owned();
        Self {
            child,
            _output: output,
            address,
            _temporary: temporary,
        }
    }

    /// Asks it to end, as Ctrl-C does.
    fn close(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "it ends without an error");
    }
}

impl Drop for OpenShop {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_open_shop_is_seen_live_on_the_page() {
    let shop = OpenShop::open();
    for dark in [false, true] {
        let window = Some((1280, 720));
        let Some(browser) = Browser::start(&Options {
            dark,
            window,
            ..Options::default()
        }) else {
            return;
        };
        for (view, rows) in [("revenue", 80), ("trending", 60), ("anomalies", 1)] {
            browser.open(&format!("{}#/{view}", shop.address));
            browser.wait_for(&format!("document.querySelectorAll('#rows tbody tr').length >= {rows}"));
            browser.wait_for("document.querySelector('#plot svg')");
            if let Some(pictures) = std::env::var_os("RECHKA_TEST_PICTURES") {
                // What the page asks for every three seconds is up to date then, too.
                std::thread::sleep(std::time::Duration::from_secs(4));
                let colours = if dark { "dark" } else { "light" };
                browser.screenshot(&Path::new(&pictures).join(format!("shop-{view}-{colours}.png")));
            }
        }
        assert_eq!(browser.log(), [""; 0]);
    }
    shop.close();
}
