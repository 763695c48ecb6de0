SELECT window_start, bidder, count(*) AS n FROM TUMBLE(bid, dateTime, INTERVAL '10' SECOND)
GROUP BY window_start, window_end, bidder
