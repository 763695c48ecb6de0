//! What `EXPLAIN` shows.
use super::*;

const TOP: &str = "SELECT window_end, place, auction, n FROM ( \
     SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC, auction) AS place FROM ( \
     SELECT auction, window_end, count(*) AS n FROM HOP(bid, dateTime, INTERVAL '2' SECOND, INTERVAL '10' SECOND) \
     GROUP BY auction, window_end)) WHERE place <= 5";

fn shown(sql: &str, partitions: u32) -> String {
    format!(
        "\n{}",
        explain(&plan_in(&catalog(partitions), sql, &Options::default()).unwrap())
    )
}

#[test]
fn a_shared_operator_is_shown_once() {
    let expected = r"
stream q in topic q
stage 0, 1 task
└─ columns auction, num
   └─ semi join on starttime = starttime and endtime = endtime where num >= maxn, times equal; state: rows until the watermark passes their last partner
      ├─ columns auction, count(Int64(1)) AS num, window_start AS starttime, window_end AS endtime
      │  └─ [0] aggregate count(1) by auction in windows: hop 2s 10s; once, when the watermark reaches the end of the window; state: open groups
      │     └─ stream bid (topic bid): auction, dateTime; watermark dateTime - 4s
      └─ columns max(CountBids.num) AS maxn, starttime, endtime
         └─ aggregate max(CountBids.num) by starttime, endtime; once, when the watermark reaches endtime; state: open groups
            └─ columns count(Int64(1)) AS num, window_start AS starttime, window_end AS endtime
               └─ [0] as above
";
    assert_eq!(shown(nexmark::Q5, 1), expected);
}

#[test]
fn exchanges_show_their_keys_and_partitions() {
    let sql = "SELECT channel, window_end, count(*) AS n FROM TUMBLE(bid, dateTime, INTERVAL '1 minute') \
         WHERE channel <> 'x' AND window_start > TIMESTAMP '2026-01-01 00:00:00' GROUP BY channel, window_start, window_end";
    let expected = r"
stream q in topic q, key channel, window_end, watermark window_end
stage 1, 4 tasks
└─ rows where window_start > '2026-01-01T00:00:00': channel, window_end, count(Int64(1)) AS n
   └─ merge aggregates count(1) by channel in windows: tumble 60s; once, when the watermark reaches the end of the window; state: open groups
      └─ exchange from stage 0: start, end, channel, count(Int64(1))[count]
stage 0, 4 tasks, to exchange q.0.exchange by channel, 4 partitions
└─ aggregate each epoch count(1) by channel in windows: tumble 60s
   └─ rows where channel != 'x': channel, dateTime
      └─ stream bid (topic bid): channel, dateTime; watermark dateTime - 4s
";
    assert_eq!(shown(sql, 4), expected);
}

#[test]
fn lookups_and_bounded_joins_show_what_they_keep() {
    let sql = "SELECT b.price, i.name FROM bid b LEFT JOIN items i ON b.auction = i.id AND i.name <> 'a' \
         JOIN auction a ON a.id = b.auction AND a.dateTime BETWEEN b.dateTime - INTERVAL '1 minute' AND b.dateTime";
    let expected = r"
stream q in topic q
stage 0, 1 task
└─ columns price, name
   └─ inner join on auction = id, time of the right from -60s to 0s of the left; state: rows until the watermark passes their last partner
      ├─ columns auction, price, dateTime, name
      │  └─ left lookup on auction = id where name != 'a'; state: the table
      │     ├─ stream bid (topic bid): auction, price, dateTime; watermark dateTime - 4s
      │     └─ table items (topic items), read whole: id, name
      └─ stream auction (topic auction): id, dateTime; watermark dateTime - 4s
";
    assert_eq!(shown(sql, 1), expected);
}

#[test]
fn changing_groups_show_when_they_are_deleted() {
    let expected = r"
table q in topic q, key channel
stage 0, 1 task
└─ columns channel, count(Int64(1)) AS n, (avg(bid.price) > 10) IS DISTINCT FROM true AS rechka_deleted
   └─ aggregate count(1), avg(bid.price) by channel; changed groups, each epoch; state: all groups
      └─ stream bid (topic bid): price, channel, dateTime; watermark dateTime - 4s
";
    assert_eq!(
        shown(
            "SELECT channel, count(*) AS n FROM bid GROUP BY channel HAVING avg(price) > 10",
            1
        ),
        expected
    );
}

#[test]
fn ranks_show_when_they_are_final() {
    let expected = r"
stream q in topic q, key window_end, place, watermark window_end
stage 0, 1 task
└─ columns window_end, row_number() PARTITION BY [bid.window_end] ORDER BY [n DESC NULLS FIRST, bid.auction ASC NULLS LAST] RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW AS place, auction, n
   └─ first 5 of each window_end, ordered by n descending, auction; once, when the watermark reaches the end of the window; state: the first rows of open windows
      └─ columns auction, window_end, count(Int64(1)) AS n
         └─ aggregate count(1) by auction in windows: hop 2s 10s; once, when the watermark reaches the end of the window; state: open groups
            └─ stream bid (topic bid): auction, dateTime; watermark dateTime - 4s
";
    assert_eq!(shown(TOP, 1), expected);
}
