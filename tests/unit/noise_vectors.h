/*
 * Published vectors of the two Noise suites haul uses, from cacophony (haskell-cryptography/cacophony,
 * vectors/cacophony.txt): every message with its payload, the handshake hash, and the transport messages
 * after it, which go from the initiator and the responder in turn.
 */
#ifndef HAUL_TESTS_NOISE_VECTORS_H
#define HAUL_TESTS_NOISE_VECTORS_H

#include "wire/noise.h"

struct noise_vector {
	enum noise_pattern pattern;
	const char *prologue, *psk, *init_static, *init_ephemeral, *init_remote_static;
	const char *resp_static, *resp_ephemeral, *hash;
	struct {
		const char *payload, *ciphertext;
	} message[6];
};

static const struct noise_vector noise_vectors[] = {
	{
		.pattern = NOISE_NNPSK0,
		.prologue = "4a6f686e2047616c74",
		.psk = "54686973206973206d7920417573747269616e20706572737065637469766521",
		.init_static = "",
		.init_ephemeral = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
		.init_remote_static = "",
		.resp_static = "",
		.resp_ephemeral = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
		.hash = "ed5e9692d0ab507b6c2beec3f584fd5b127817a9d20b26cd50aa72c507260fa31aa7d88dd3723316338a"
			"f37ce0b4cfb2"
			"923aeb848bbf2b934911306f01ffc963",
		.message =
			{
				{"4c756477696720766f6e204d69736573",
				 "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944ed63df2f5a1"
				 "2aee1185ee9c50305f2ec"
				 "f12421dcb53c047a63b784cf7c54a105"},
				{"4d757272617920526f746862617264",
				 "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088430e0fe7d5c0c"
				 "9b92f7478716c8852f1b4"
				 "f389edb75e3ebe546fafafd5b6f0f7"},
				{"462e20412e20486179656b",
				 "0fe04b26dcfbb69f8a6a94c61f1a26ef88769218d32f5d17c068a6"},
				{"4361726c204d656e676572",
				 "2239e0c540c01f09eb1f4cc5258fd5acfefff18a5a3773f21b7bfe"},
				{"4a65616e2d426170746973746520536179",
				 "f216cb03d30fb8af1e561fe02a07552d09b416e27a75e62c77d193718b0bdaae9f"},
				{"457567656e2042f6686d20766f6e2042617765726b",
				 "6e8baf98b944184dd7dc5ef14d8108cbeca626de118a5460f3308e294d61e17238bce29bd"
				 "9"},
			},
	},
	{
		.pattern = NOISE_IKPSK2,
		.prologue = "4a6f686e2047616c74",
		.psk = "54686973206973206d7920417573747269616e20706572737065637469766521",
		.init_static = "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
		.init_ephemeral = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
		.init_remote_static = "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62",
		.resp_static = "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
		.resp_ephemeral = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
		.hash = "ed837c9084f2f0333a7ec60b9bcacd9921394858de8ced118b5966d1147ba390084dab42326c565a309c"
			"29317a6079be"
			"30aa1d790d25a517b43287426cb1d36a",
		.message =
			{
				{"4c756477696720766f6e204d69736573",
				 "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944b6fe0240b83"
				 "9afac809de1630eaf99d8"
				 "f9b941394f0512c0554633bbb021d15176135c0a20e7fdb9a9ed066f22f054b47625b1d5061"
				 "cb27d6a17f053273db7c2"
				 "5216a5addc506ee321bc0618feb5849d"},
				{"4d757272617920526f746862617264",
				 "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088438f627e69fc1"
				 "20006f746b9d420bf4056"
				 "cf8481ab32d9e904ffaeeaa56a5290"},
				{"462e20412e20486179656b",
				 "07fc0034398a5f1010322be193d62f94bebf2948a20b3e15d681fe"},
				{"4361726c204d656e676572",
				 "2ea5400f5b8a16971c8b67bde75aeb7987d454b1c0beeb2566932d"},
				{"4a65616e2d426170746973746520536179",
				 "96eef918ef51639fc0e156da1823c4f71b33fac5af983f5da9384f7da20d86ed91"},
				{"457567656e2042f6686d20766f6e2042617765726b",
				 "f02766a56496e1fbf32e05274baebf6d693c8f3e4c6e0dc7ebdc5ac170f15dae433b92f46"
				 "9"},
			},
	},
};

#endif
