//! What a trained model is used for.

pub mod charts;
pub mod pca;
pub mod state_dict;
