//! From lab to ruleset, golden; each is loaded by the real `nft` elsewhere.
