//! What views count, as Prometheus text.
use std::fmt::Write;

use rechka_store::Views;

/// The metrics of all views.
pub(crate) fn text(views: &Views) -> String {
    let (used, limit) = views.memory();
    let mut text = format!(
        "# HELP rechka_views_memory_bytes Memory of all views together, about.\n# TYPE rechka_views_memory_bytes gauge\n\
         rechka_views_memory_bytes {used}\n\
         # HELP rechka_views_memory_limit_bytes What they may use.\n# TYPE rechka_views_memory_limit_bytes gauge\n\
         rechka_views_memory_limit_bytes {limit}\n"
    );
    let views: Vec<_> = views
        .list()
        .iter()
        .map(|view| (view.relation().name.clone(), view.statistics()))
        .collect();
    let mut write = |name: &str, kind: &str, help: &str, value: &dyn Fn(&rechka_store::Statistics) -> u64| {
        // Writing to a string can't fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (view, statistics) in &views {
            let view = view.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(text, "{name}{{view=\"{view}\"}} {}", value(statistics));
        }
    };
    write("rechka_view_rows", "gauge", "Rows of a view.", &|view| view.rows as u64);
    write(
        "rechka_view_memory_bytes",
        "gauge",
        "Memory of a view, about.",
        &|view| view.bytes as u64,
    );
    write(
        "rechka_view_lag_records",
        "gauge",
        "Records that a view does not show yet.",
        &|view| view.lag,
    );
    write("rechka_view_subscribers", "gauge", "Subscribers of a view.", &|view| {
        view.subscribers as u64
    });
    write(
        "rechka_view_malformed_total",
        "counter",
        "Records that are no rows of the view.",
        &|view| view.malformed,
    );
    write("rechka_view_up", "gauge", "Whether a view can be asked.", &|view| {
        u64::from(view.trouble.is_none())
    });
    text
}
