//! A coin-mining application of five services, in the spirit of the classic container workshop.
