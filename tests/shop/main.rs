//! `rechka demo shop` as a process of its own: what the pipeline found out against what the visitors did, and how it looks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../crates/rechka-serve/tests/browser/mod.rs"]
mod browser;
mod figures;
mod processes;
mod records;

use std::{path::Path, process::Command, time::Duration};

use browser::{Browser, Options};
use figures::*;
use processes::{OpenShop, Process, Shop, rechka};
use records::{clicks, purchases};
use serde_json::Value;

/// Long enough to get into the middle of things; what is checked does not depend on it.
const BETWEEN_KILLS: Duration = Duration::from_millis(1_500);

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

#[test]
fn questions_build_on_what_runs_and_change_nothing_of_it() {
    let shop = Shop::open(20);
    let counted = shop.ask(&[
        "sql",
        "-e",
        "CREATE VIEW buyers AS SELECT * FROM user_features WHERE clicks > 0; SELECT count(*) > 0 AS some FROM buyers",
    ]);
    assert!(counted.contains("true"), "{counted}");
    for (statement, way_out) in [
        ("DROP MATERIALIZED VIEW user_features", "rechka run"),
        ("CREATE STREAM copies AS SELECT * FROM purchases", "rechka sql --batch"),
    ] {
        let log = format!("embedded:{}/log", shop.folder.display());
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_rechka"))
            .args(["sql", "-e", statement, "--log", &log])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains(way_out),
            "{statement}: {errors}"
        );
    }
}

#[test]
fn a_shop_that_is_killed_again_and_again_counts_everything_once() {
    let shop = OpenShop::open();
    std::thread::sleep(BETWEEN_KILLS);
    let shop = shop.kill();
    let pipeline = shop.folder.join("shop.sql");
    for _ in 0..3 {
        let log = format!("embedded:{}/log", shop.folder.display());
        let child = Command::new(env!("CARGO_BIN_EXE_rechka"))
            .args(["run", "--listen", "127.0.0.1:0", "--log", &log])
            .arg(&pipeline)
            .spawn();
        let process = Process(child.expect("rechka starts"));
        std::thread::sleep(BETWEEN_KILLS);
        drop(process);
    }
    shop.ask(&["run", "--once", &pipeline.display().to_string()]);
    let ((purchases, _), (clicks, _)) = (purchases(&shop), clicks(&shop));
    revenue_is_what_was_paid(&shop, &purchases);
    visits_hold_every_click(&shop, &clicks);
    conversions_are_purchases_of_what_was_in_the_cart(&shop, &purchases, &clicks);
    features_count_every_click(&shop, &clicks);
    every_order_is_in_the_archive_once(&shop, &purchases);
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
                std::thread::sleep(Duration::from_secs(4));
                let colours = if dark { "dark" } else { "light" };
                browser.screenshot(&Path::new(&pictures).join(format!("shop-{view}-{colours}.png")));
            }
        }
        assert_eq!(browser.log(), [""; 0]);
    }
    shop.close();
}
