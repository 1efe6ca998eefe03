"""Settings of OpenCV's USAC by name: RANSAC with local optimization and a final polish, seeded."""

import cv2


def usac(
    threshold: float,
    probability: float,
    iterations: int,
    seed: int,
    *,
    score: int,
    local: int,
    sample: int,
    polisher: int,
) -> cv2.UsacParams:
    """Settings of a robust solver.

    Args:
        threshold: largest error of an inlier, in the solver's units.
        probability: probability of having drawn an all-inlier sample at which the solver stops.
        iterations: largest number of samples.
        seed: seed of the samples.
        score, local, polisher: OpenCV's constants for scoring, local optimization and final polish.
        sample: size of the subsets of local optimization.
    """
    parameters = cv2.UsacParams()
    parameters.threshold, parameters.confidence = threshold, probability
    parameters.maxIterations, parameters.randomGeneratorState = iterations, seed
    parameters.sampler, parameters.score = cv2.SAMPLING_UNIFORM, score
    parameters.loMethod, parameters.loIterations, parameters.loSampleSize = local, 10, sample
    parameters.final_polisher, parameters.final_polisher_iterations = polisher, 3
    parameters.isParallel = False  # with threads the result depends on their timing
    return parameters
