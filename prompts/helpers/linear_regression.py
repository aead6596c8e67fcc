def linear_regression(x, y):
    """Least squares with an intercept: the coefficients of the columns of `x`, their p-values, and R squared."""
    import numpy as np
    from scipy import stats

    x, y = np.asarray(x, float).reshape(len(y), -1), np.asarray(y, float)
    known = np.isfinite(x).all(axis=1) & np.isfinite(y)
    design, y = np.column_stack([np.ones(known.sum()), x[known]]), y[known]
    fitted = np.linalg.lstsq(design, y, rcond=None)[0]
    residual, free = y - design @ fitted, len(y) - design.shape[1]
    errors = np.sqrt(np.diag(np.linalg.pinv(design.T @ design)) * (residual @ residual) / free)
    p_values = 2 * stats.t.sf(np.abs(fitted / errors), free)
    return fitted[1:], p_values[1:], 1 - (residual @ residual) / ((y - y.mean()) @ (y - y.mean()))
