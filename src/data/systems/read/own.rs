//! Systems files that holosig wrote, to be joined, split anew or converted.

use super::{Options, Source};
use crate::Result;
use crate::comm::World;
use crate::data::systems::{Sample, Systems, Value};
use crate::store::{Header, Kind};

pub(super) fn fits(source: &Source) -> Result<bool> {
    Ok(Header::read(&source.path).is_ok_and(|header| header.kind == Kind::Systems))
}

pub(super) fn read(source: &Source, options: &Options) -> Result<Vec<Sample>> {
    let systems = Systems::open(&World::alone(), &source.path)?;
    let sample = |i: usize| {
        let values = systems.targets().iter().filter(|t| !t.values[i].is_nan());
        let value = |t: &crate::data::systems::Target| {
            Ok(Value::new(
                &t.name,
                &options.unit(&t.name, &t.unit)?,
                t.values[i],
            ))
        };
        Ok(Sample {
            id: systems.id(i).into(),
            group: systems.groups[i].clone(),
            split: Some(systems.splits[i]),
            system: systems.system(i),
            values: values.map(value).collect::<Result<_>>()?,
            forces: systems.forces(i).map(<[_]>::to_vec),
            stress: systems.stress(i).map(|(stress, _)| stress),
            ..Sample::default()
        })
    };
    (0..systems.len()).map(sample).collect()
}
