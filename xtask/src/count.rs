//! Counts tests in the output of their runners.
use std::ops::AddAssign;

/// Tests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Count {
    /// Adds up the closing lines of cargo test (`test result: ok. 3 passed; 0 failed; …`) and of pytest (`3 passed, 1 failed in 2.0s`).
    pub fn read(line: &str) -> Self {
        let is_cargo = line.starts_with("test result: ");
        let is_pytest = line.contains(" in ") && (line.contains(" passed") || line.contains(" failed"));
        if !is_cargo && !is_pytest {
            return Self::default();
        }
        let words: Vec<&str> = line
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let number_before = |name: &str| {
            words
                .windows(2)
                .find(|pair| pair[1] == name)
                .and_then(|pair| pair[0].parse().ok())
                .unwrap_or(0)
        };
        Self {
            passed: number_before("passed"),
            failed: number_before("failed") + number_before("errors"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_read() {
        let cargo =
            "test result: FAILED. 12 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s";
        assert_eq!(Count::read(cargo), Count { passed: 12, failed: 2 });
        assert_eq!(
            Count::read("===== 1 failed, 3 passed in 2.10s ====="),
            Count { passed: 3, failed: 1 }
        );
        assert_eq!(Count::read("test transcripts::are_final ... ok"), Count::default());
    }
}
