//! How large a model may be: what is beyond is a slip of the pen, and is refused before anything is
//! allocated.

use crate::{Error, Result};

/// The widest layer: channels, hidden units, clusters.
pub const WIDEST: usize = 65_536;

/// The most layers or blocks that are listed one by one.
pub const DEEPEST: usize = 256;

/// The most parameters of a model.
pub const PARAMETERS: usize = 1_000_000_000;

/// Refuses a size that is not 1 to [`WIDEST`], by its key.
pub(super) fn check_width(key: &str, size: usize) -> Result<()> {
    match size {
        0 => Err(Error::input(format!("{key} = 0: must be at least 1"))),
        1..=WIDEST => Ok(()),
        _ => Err(Error::input(format!(
            "{key} = {size}: the most is {WIDEST}"
        ))),
    }
}

/// Refuses a model of `values` parameters and buffers that is beyond [`PARAMETERS`] or that this
/// process has no room for: the values themselves, and a copy from which they are set.
pub(super) fn check_room(values: usize) -> Result<()> {
    if values > PARAMETERS {
        return Err(Error::input(format!(
            "the model would have {values} parameters; the most is {PARAMETERS}: choose smaller \
             sizes in [model]"
        )));
    }
    let room = Vec::<f32>::new().try_reserve_exact(2 * values);
    room.map_err(|_| {
        Error::input(format!(
            "the model would have {values} parameters, and this machine has no room for them: \
             choose smaller sizes in [model]"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_told_with_the_limit() {
        assert!(check_width("hidden", 1).is_ok());
        assert!(check_width("hidden", WIDEST).is_ok());
        let told = check_width("hidden", WIDEST + 1).unwrap_err().to_string();
        assert_eq!(told, "hidden = 65537: the most is 65536");
        assert!(check_width("hidden", 0).is_err());
        assert!(check_room(1000).is_ok());
        let told = check_room(usize::MAX).unwrap_err().to_string();
        assert!(told.contains("the most is 1000000000"), "{told}");
    }
}
