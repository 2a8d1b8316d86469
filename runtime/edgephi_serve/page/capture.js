// Runs in the audio thread: hands on the microphone's samples at 16 kHz, in blocks of 0.1 s.

const RATE = 16000;
const SLOWER = Math.max(1, sampleRate / RATE);
const REACH = Math.ceil(12 * SLOWER); // samples that count, on each side of the place of a new one
const weights = [];

// The low pass at a place between two samples, in 1/RATE of their distance: a sinc under a Hann window.
const weightsAt = (place) => Float32Array.from({ length: 2 * REACH }, (_, i) => {
	const distance = i + 1 - REACH - place / RATE;
	const x = (Math.PI * distance) / SLOWER;
	return ((x ? Math.sin(x) / x : 1) * (1 + Math.cos((Math.PI * distance) / REACH))) / 2 / SLOWER;
});

registerProcessor('capture', class extends AudioWorkletProcessor {
	#given = Array(REACH).fill(0);
	#at = REACH * RATE; // where the next new sample is in #given, in 1/RATE of a sample
	#block = [];

	process([[samples = []]]) {
		this.#given.push(...samples);
		for (; Math.floor(this.#at / RATE) + REACH < this.#given.length; this.#at += sampleRate) this.#add();
		const old = Math.floor(this.#at / RATE) - REACH;
		this.#given.splice(0, old);
		this.#at -= old * RATE;
		return true;
	}

	#add() {
		const place = this.#at % RATE;
		weights[place] ??= weightsAt(place);
		const from = (this.#at - place) / RATE + 1 - REACH;
		this.#block.push(weights[place].reduce((sum, weight, i) => sum + weight * this.#given[from + i], 0));
		if (this.#block.length === RATE / 10) this.port.postMessage(new Float32Array(this.#block.splice(0)));
	}
});
