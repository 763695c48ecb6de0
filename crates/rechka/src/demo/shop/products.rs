//! What the shop sells: the table that the pipeline reads too.
use anyhow::{Context, Result};

/// The table as it is shipped.
pub const TABLE: &str = include_str!("../../../../../pipelines/shop/products.csv");

/// Something to buy.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Its number.
    pub item_id: u32,
    /// Its price in cents.
    pub cents: u64,
}

/// All products.
pub fn products() -> Result<Vec<Product>> {
    let lines = TABLE.lines().skip(1);
    let product = |line: &str| {
        let mut fields = line.split(',');
        let item_id = fields.next()?.parse().ok()?;
        let (units, cents) = fields.nth(2)?.split_once('.')?;
        let cents = units.parse::<u64>().ok()? * 100 + cents.parse::<u64>().ok()?;
        Some(Product { item_id, cents })
    };
    lines
        .map(|line| product(line).with_context(|| format!("products.csv: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_has_forty_products_in_six_categories() {
        assert_eq!(products().unwrap().len(), 40);
        assert_eq!(
            products().unwrap()[0],
            Product {
                item_id: 1,
                cents: 24_900
            }
        );
        let categories: BTreeSet<_> = TABLE
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').nth(2))
            .collect();
        assert_eq!(categories.len(), 6);
    }
}
