//! The shop: clicks to `user-events` and purchases to `purchases`, for `pipelines/shop.sql`.
mod feed;
mod products;
mod visitors;

pub use feed::{backfill, live};
pub use products::TABLE as PRODUCTS;
