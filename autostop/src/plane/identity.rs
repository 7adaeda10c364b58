//! Who a plane is: drawn once, and the same from then on.

use std::{fs, io, path::Path};

use common::disk::replace;

/// The id that was drawn when the plane first started here.
///
/// # Errors
/// When it can neither be read nor written down for good.
pub fn kept_id(folder: &Path) -> io::Result<String> {
    let path = folder.join("plane-id");
    match fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(folder)?;
    let id = format!("plane-{:016x}", fastrand::u64(..));
    replace(&path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_drawn_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("autostop");
        let first = kept_id(&place).unwrap();
        assert!(first.starts_with("plane-"));
        assert_eq!(kept_id(&place).unwrap(), first);
        fs::write(place.join("plane-id"), "").unwrap();
        assert_ne!(kept_id(&place).unwrap(), first);
    }
}
