//! Pure. The order in which people look for names: `box-9` before `box-10`.

/// A run of digits, or of anything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Without leading zeros, by its length first.
    Number(usize, String),
    /// In lower case.
    Text(String),
}

/// What a name is sorted by.
pub(super) fn key(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for char in name.chars().flat_map(char::to_lowercase) {
        match (parts.last_mut(), char.is_ascii_digit()) {
            (Some(Part::Number(length, digits)), true) => {
                // A zero in front says nothing.
                if digits == "0" {
                    digits.clear();
                }
                digits.push(char);
                *length = digits.len();
            }
            (Some(Part::Text(text)), false) => text.push(char),
            (_, true) => parts.push(Part::Number(1, char.to_string())),
            (_, false) => parts.push(Part::Text(char.to_string())),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let mut names =
            ["box-10", "Box-9", "box-009b", "box", "10", "9", "box-99999999999999999999999", "", "äx-1"];
        names.sort_by_key(|name| key(name));
        let sorted =
            ["", "9", "10", "box", "Box-9", "box-009b", "box-10", "box-99999999999999999999999", "äx-1"];
        assert_eq!(names, sorted);
    }
}
