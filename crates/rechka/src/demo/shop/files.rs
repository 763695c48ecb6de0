//! The pipeline and its table of products: in the binary, and written beside the log.
use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::products;

/// The name of the pipeline.
pub const NAME: &str = "shop";
/// Its text, as it is shipped.
pub const PIPELINE: &str = include_str!("../../../../../pipelines/shop.sql");

/// Writes both into `folder`, where the pipeline expects them.
pub fn write(folder: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("writing {}", path.display()))
    };
    write("shop.sql", PIPELINE)?;
    write("shop/products.csv", products::TABLE)
}
