//! What the pipeline found out is what the visitors did.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    processes::Shop,
    records::{categories, minute, moment, number, seconds, text, whole},
};

pub fn revenue_is_what_was_paid(shop: &Shop, purchases: &[Value]) {
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

pub fn visits_hold_every_click(shop: &Shop, clicks: &[Value]) {
    let visits = shop.query("SELECT user_id, clicks FROM visits");
    let in_visits: i64 = visits.iter().map(|visit| whole(visit, "clicks")).sum();
    let late = shop.late("visits").len() as i64;
    assert_eq!(in_visits + late, clicks.len() as i64);
}

pub fn conversions_are_purchases_of_what_was_in_the_cart(shop: &Shop, purchases: &[Value], clicks: &[Value]) {
    let key = |value: &Value| (whole(value, "user_id"), value["item_id"].as_i64());
    let mut carts = BTreeMap::<_, Vec<String>>::new();
    for click in clicks.iter().filter(|click| click["kind"] == "cart") {
        carts.entry(key(click)).or_default().push(moment(click, "ts"));
    }
    let mut possible = BTreeMap::new();
    for purchase in purchases {
        let bought = moment(purchase, "ts");
        for carted in carts.get(&key(purchase)).into_iter().flatten() {
            if seconds(carted) <= seconds(&bought) && seconds(carted) >= seconds(&bought) - 60.0 {
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

pub fn features_count_every_click(shop: &Shop, clicks: &[Value]) {
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

pub fn every_order_is_in_the_archive_once(shop: &Shop, purchases: &[Value]) {
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

pub fn every_broken_record_is_a_dead_letter(shop: &Shop, broken: usize) {
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
