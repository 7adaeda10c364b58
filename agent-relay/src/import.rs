//! Pure. Understands what people have in place, and says what each line of it becomes here.

mod conf;
mod haproxy;

/// The TOML that says the same as a `stackstate.conf`, a `datadog.conf` or a `haproxy.cfg`, with a comment for each
/// line that has no meaning here. Which of them it is shows in the text.
pub fn import(text: &str) -> String {
    if haproxy::is_one(text) { haproxy::import(text) } else { conf::import(text) }
}
